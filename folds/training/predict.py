"""Asking a network for predictions: what every pass without gradients has in common."""

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor

from folds.arrays import Floats, Ints
from folds.augment import to_input
from folds.augment.tta import mean_probabilities
from folds.model.backbone import Classifier
from folds.training.context import FoldContext
from folds.training.frozen import EVAL_BATCH_FACTOR
from folds.training.loader import Gather

Images = Callable[[Tensor], Tensor]


def as_logits(context: FoldContext, model: Classifier) -> Images:
    """The model as a function from images (B, 3, S, S) to logits (B, C) in the run's precision."""

    def logits(images: Tensor) -> Tensor:
        with context.runtime.autocast():
            return cast(Tensor, model(images))

    return logits


def eval_batches(context: FoldContext, rows: Ints) -> list[Ints]:
    """This worker's part of some rows, in batches."""
    mine = context.workers.slice(rows)
    batch = max(
        EVAL_BATCH_FACTOR * context.problem.config.train.batch_size // context.workers.size, 1
    )
    return [mine[first : first + batch] for first in range(0, len(mine), batch)]


@torch.inference_mode()
def predict(
    context: FoldContext, model: Classifier, pixels: Gather, rows: Ints, tta: str = "none"
) -> Floats:
    """Probabilities (n, C) of rows of any images, the work shared by the workers.

    Parameters
    ----------
    tta : str
        Views that are averaged, see `folds.augment.tta.views`.
    """
    model.eval()
    see, size = as_logits(context, model), context.problem.size
    batches = pixels.batches(eval_batches(context, rows))
    outputs = (mean_probabilities(see, to_input(found, size), tta) for _, found in batches)
    return all_gather(context, outputs, len(rows)).numpy()


@torch.inference_mode()
def features_of(context: FoldContext, model: Classifier, rows: Ints) -> Floats:
    """Pooled features (n, F) of rows of the images in their plain view."""
    model.eval()
    size, outputs = context.problem.size, []
    for _, found in context.pixels.batches(eval_batches(context, rows)):
        with context.runtime.autocast():
            _, features = model(to_input(found, size), with_features=True)
        outputs.append(features.float())
    return all_gather(context, outputs, len(rows), model.head.features).numpy()


def all_gather(
    context: FoldContext, outputs: Iterable[Tensor], count: int, columns: int = 0
) -> Tensor:
    """What all workers found (count, columns), from each one's batches; on the CPU.

    Parameters
    ----------
    count : int
        Rows in all.
    columns : int
        Default: as many as classes.
    """
    width = columns or len(context.problem.images.class_names)
    parts = list(outputs)
    kind = parts[0].dtype if parts else torch.float32
    none = torch.zeros(0, width, device=context.runtime.device, dtype=kind)
    return context.workers.gather(torch.cat([none, *parts]), count).cpu()
