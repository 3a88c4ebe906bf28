"""Low-rank adapters of a vision transformer's attention, trained instead of its weights.

The layers are those of Hugging Face's ``peft``, which is asked for only where adapters are. A
trained network has them merged into its weights, so it is one like any other.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from folds.config.lora import LoraShape
from folds.errors import UserError
from folds.model.names import Architecture

_PROJECTIONS = ("qkv", "q_proj", "k_proj", "v_proj", "proj")  # of attention, as timm calls them
_INSTEAD = "use --tune full, or a vision transformer such as vit_small_patch16_224"


def add_adapters(backbone: nn.Module, name: str, shape: LoraShape, *, size: int, seed: int) -> None:
    """Give the projections of every attention block a low-rank adapter, in place.

    Parameters
    ----------
    backbone : Module
        A timm model.
    name : str
        Its name.
    shape : LoraShape
    size : int
        Side of its input in pixels.
    seed : int
        Of the adapters' first weights.

    Raises
    ------
    UserError
        There is no ``peft``, no such projection, or one that is not called as a layer.

    Notes
    -----
    Adapters change nothing before they are trained: one of their two matrices begins as 0.

    References
    ----------
    Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022.
    """
    places = [
        place
        for place, module in backbone.named_modules()
        if isinstance(module, nn.Linear)
        and place.split(".")[-1] in _PROJECTIONS
        and place.rpartition(".")[0].endswith("attn")
    ]
    if not places:
        raise UserError(f"--tune {shape}: {name} has no attention to adapt; {_INSTEAD}")
    inject, config = _peft(shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject(config(r=shape.rank, lora_alpha=shape.alpha, target_modules=places), backbone)
    if unused := _unused(backbone, size):
        raise UserError(
            f"--tune {shape}: {name} computes with the weights of {unused[0]} itself, which leaves "
            f"an adapter out; {_INSTEAD}"
        )


def check_adapters(name: str, size: int, shape: LoraShape, *, pretrained: bool) -> None:
    """Refuse adapters of a backbone that cannot have them, or that knows nothing to adapt.

    Raises
    ------
    UserError
        As `add_adapters`, or there are no pretrained weights.
    """
    if not pretrained:
        raise UserError(
            f"--tune {shape}: adapts pretrained weights, and there are none; give --weights FILE, "
            "or use --tune full"
        )
    add_adapters(Architecture.of(name).create(size), name, shape, size=size, seed=0)


def _peft(shape: LoraShape) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What makes adapters, and their settings."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise UserError(
            f"--tune {shape}: needs peft; pip install 'crossfold[lora]', or use --tune full"
        ) from None
    return inject_adapter_in_model, LoraConfig


@torch.no_grad()
def _unused(backbone: nn.Module, size: int) -> list[str]:
    """Places of adapters that an image does not pass."""
    called: set[nn.Module] = set()
    hooks = [
        layer.register_forward_hook(lambda layer, *_: called.add(layer))
        for _, layer in _adapted(backbone)
    ]
    was_training = backbone.training
    backbone.eval()(torch.zeros(1, 3, size, size))
    backbone.train(was_training)
    for hook in hooks:
        hook.remove()
    return [place for place, layer in _adapted(backbone) if layer not in called]


def _adapted(backbone: nn.Module) -> Iterator[tuple[str, Any]]:
    """Layers with an adapter, by their places."""
    return (
        (place, layer)
        for place, layer in backbone.named_modules()
        if hasattr(layer, "get_base_layer")
    )


def freeze_adapted(backbone: nn.Module) -> None:
    """Freeze all but the adapters of a network that has some."""
    others = [p for name, p in backbone.named_parameters() if ".lora_" not in name]
    if len(others) < len(list(backbone.parameters())):
        for parameter in others:
            parameter.requires_grad_(False)


def merge_adapters(backbone: nn.Module) -> None:
    """Add what the adapters have learnt to the weights, in place, and remove them."""
    for place, layer in list(_adapted(backbone)):
        layer.merge()
        backbone.set_submodule(place, layer.get_base_layer())
