"""How a timm model is cut: into parts that run one after another, and into layer groups."""

from collections.abc import Iterator
from typing import Any

import torch
from timm.models import group_parameters
from torch import nn

# In the form of timm's `group_matcher`, for the models that have none: MetaFormer, PiT and CSATv2.
_BLOCKS = {
    "stem": r"^(?:stem|patch_embed|pos_embed|cls_token)",
    "blocks": [
        (r"^(?:stages|transformers)\.(\d+)(?:\.blocks)?\.(\d+)", None),
        (r"^(?:stages|transformers)\.(\d+)", (0,)),  # before the first block of its stage
    ],
}


def chain(network: nn.Module, size: int) -> tuple[nn.Module, ...]:
    """Cut a backbone into parts that, one after another, are the backbone.

    Returns
    -------
    tuple of Module
        The finest parts that were seen to give the same output; the backbone as the only part
        where its forward pass is no chain of its children (vision transformers).
    """
    parts = tuple(_links(network))
    was_training = network.training
    network.eval()
    probe = torch.linspace(-1, 1, 3 * size * size).view(1, 3, size, size)
    try:
        with torch.inference_mode():
            output = probe
            for part in parts:
                output = part(output)
            same = torch.equal(output, network(probe))
    except Exception:  # whatever a part may raise that got another part's input
        same = False
    network.train(was_training)
    return parts if same else (network,)


def _links(module: nn.Module) -> Iterator[nn.Module]:
    """A module's children in order, each `Sequential` as its own children."""
    for child in module.children():
        if type(child) is nn.Sequential:
            yield from _links(child)
        else:
            yield child


def layer_groups(backbone: nn.Module) -> list[list[nn.Parameter]]:
    """A timm model's parameters in its blocks, from the input to the classifier.

    Notes
    -----
    - each block has a matrix or a kernel: what timm counts as a layer of its own but is only
      vectors, such as the norm behind the last block of a ConvNeXt, belongs to the block before it.
    """
    network: Any = backbone
    told = hasattr(network, "group_matcher")
    matcher = network.group_matcher(coarse=False) if told else _BLOCKS
    numbers = group_parameters(network, matcher, reverse=True)
    layers: dict[int, list[nn.Parameter]] = {}
    for name, parameter in backbone.named_parameters():
        layers.setdefault(numbers[name], []).append(parameter)
    blocks: list[list[nn.Parameter]] = []
    for _, layer in sorted(layers.items()):
        if blocks and not any(parameter.ndim > 1 for parameter in layer):
            blocks[-1] += layer
        else:
            blocks.append(layer)
    return blocks
