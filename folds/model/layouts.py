"""Files of weights as others write them, brought to the names and shapes of timm's backbones."""

import importlib
import math
import re
from typing import Any

from torch import Tensor, nn

from folds.model.names import MOST_SIDE, Architecture

_WRAPPED = ("state_dict", "model", "teacher", "student")  # the latter two of self-distillation
_DINOV2 = "mask_token"  # of files of DINOv2 and what was trained by its code, as timm tells them
_PATCHES, _POSITIONS = "patch_embed.proj.weight", "pos_embed"


def unwrapped(content: Any) -> Any:
    """What lies under the usual names of a state in a training checkpoint."""
    for key in _WRAPPED:
        content = content.get(key, content) if isinstance(content, dict) else content
    return content


def fitting(
    state: dict[str, Tensor], architecture: Architecture
) -> tuple[dict[str, Tensor], nn.Module]:
    """Bring a file's weights to timm's layout, without a head.

    Parameters
    ----------
    state : dict of str to Tensor
        As the file has it: timm's names, also under the prefixes of DDP, crossfold and
        self-distillation; or DINOv2's.

    Returns
    -------
    state : dict of str to Tensor
        What could not be brought to it stays as it is.
    model : Module
        The network to compare with, for images of the size that the position embeddings are of.

    References
    ----------
    Oquab et al.: DINOv2, TMLR 2024; Koch et al.: DinoBloom, MICCAI 2024, whose file is a
    checkpoint of DINOv2's code.
    """
    state = _without_prefixes(state)
    model = architecture.create(_size(state) if architecture.fixed else None)
    state = _without_heads(state, model)
    if _DINOV2 in state:
        state = _from_dinov2(_unchunked(state), model)
    return state, model


def _from_dinov2(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """By timm's own filter, unless that would stretch patches of another size in silence."""
    own = model.state_dict().get(_PATCHES)
    if own is None or _PATCHES not in state or state[_PATCHES].shape != own.shape:
        return state
    module = importlib.import_module(type(model).__module__)
    try:
        return dict(module.checkpoint_filter_fn(dict(state), model))
    except (AttributeError, KeyError, RuntimeError):  # of another network
        return state


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without DDP's prefix; of crossfold and of self-distillation the backbone alone."""
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    own = {n.removeprefix("backbone."): t for n, t in state.items() if n.startswith("backbone.")}
    return own or state


def _without_heads(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Without classifiers, Inception's auxiliary one too."""
    classifier: Any = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    heads = ("AuxLogits", *((classifier,) if isinstance(classifier, str) else classifier))
    return {n: t for n, t in state.items() if not any(n.startswith(f"{head}.") for head in heads)}


def _unchunked(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Blocks by their number alone; DINOv2's code may put a chunk's number before it."""
    return {re.sub(r"^blocks\.\d+\.(?=\d+\.)", "blocks.", n): t for n, t in state.items()}


def _size(state: dict[str, Tensor]) -> int | None:
    """Side in pixels of the square images that position embeddings are of, if there are any."""
    positions, patches = state.get(_POSITIONS), state.get(_PATCHES)
    if positions is None or patches is None or positions.ndim != 3 or patches.ndim != 4:
        return None
    size = max(1, math.isqrt(positions.shape[1])) * patches.shape[-1]  # tokens beside are few
    return size if size <= MOST_SIDE else None
