"""What a backbone makes of images as it is, and what that costs."""

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from folds.arrays import Floats
from folds.augment import to_input
from folds.images import ImageSet
from folds.model.backbone import Classifier
from folds.model.folding import predicting
from folds.runtime.device import Runtime
from folds.runtime.memory import Pieces
from folds.training.loader import BatchLoader

BATCH = 64


@dataclass(frozen=True)
class Cost:
    """What a backbone costs.

    Parameters
    ----------
    seconds : float
        Of a forward pass, for an image: the median over batches, the first left out if there are
        others, since it warms up.
    parameters : int
        How many numbers it has learnt, without a head.
    memory : int
        Bytes for one image: parameters and buffers, and on a GPU the most that the pass took
        beside them; on a processor the input and the output of the layer where these are largest.
    """

    seconds: float
    parameters: int
    memory: int


def pooled_features(
    images: ImageSet, model: Classifier, runtime: Runtime, *, batch: int = BATCH
) -> tuple[Floats, Cost]:
    """Pass images through a backbone in their plain view, up to where its head would begin.

    Parameters
    ----------
    images : ImageSet
        N images, at least one.
    model : Classifier
        Of `folds.model.backbone.build`; is brought to the runtime's device.
    runtime : Runtime
        What to compute on.
    batch : int
        Images at a time.

    Returns
    -------
    features : ndarray of float32, shape (N, F)
        Pooled.
    cost : Cost

    Notes
    -----
    An image's features do not depend on the images beside it.
    """
    runtime.place(model)
    rows = np.arange(len(images))
    parts = [rows[first : first + batch] for first in range(0, len(rows), batch)]
    outputs, seconds, pieces = [], [], Pieces()
    with predicting(model), runtime.autocast():
        for _, pixels in BatchLoader(images.pixels, runtime.device).batches(parts):
            view = to_input(pixels, model.size)
            _wait(runtime)
            start = time.perf_counter()
            pooled = pieces(len(view), partial(_pooled, model, view))
            _wait(runtime)
            seconds.append((time.perf_counter() - start) / len(pixels))
            outputs.append(pooled.float().cpu().numpy())
        memory = _memory(model, view[:1])
    parameters = sum(each.numel() for each in model.backbone.parameters())
    cost = Cost(float(np.median(seconds[1:] or seconds)), parameters, memory)
    return np.concatenate(outputs), cost


def _pooled(model: Classifier, view: Tensor, part: slice) -> Tensor:
    pooled: Tensor = model(view[part], with_features=True)[1]
    return pooled


def _wait(runtime: Runtime) -> None:
    if runtime.device.type == "cuda":
        torch.cuda.synchronize()


def _memory(model: Classifier, view: Tensor) -> int:
    """Bytes that the pass of a view (1, 3, S, S) needs, see `Cost`."""
    own = sum(t.nbytes for t in (*model.backbone.parameters(), *model.backbone.buffers()))
    if view.device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        model(view)
        return own + torch.cuda.max_memory_allocated() - before
    largest = 0

    def note(_: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal largest
        held = (each for each in (*inputs, output) if isinstance(each, Tensor))
        largest = max(largest, sum(each.nbytes for each in held))

    leaves = (each for each in model.backbone.modules() if not any(each.children()))
    hooks = [leaf.register_forward_hook(note) for leaf in leaves]
    model(view)
    for hook in hooks:
        hook.remove()
    return own + largest
