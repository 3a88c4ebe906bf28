"""Predictions of a network: the passes without gradients, shared by a fold's workers.

Each worker takes a contiguous part of the rows, in batches twice as large as training's, and all of
them get everyone's results (`all_gather`).
"""

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor

from folds.arrays import Floats, Ints
from folds.augment import to_input
from folds.augment.tta import mean_probabilities
from folds.config.stages import StagePosition
from folds.model.backbone import Classifier
from folds.model.folding import predicting
from folds.training.checkpoint import FoldState
from folds.training.context import FoldContext
from folds.training.divergence import check_logits
from folds.training.frozen import EVAL_BATCH_FACTOR
from folds.training.inputs import plain_inputs
from folds.training.loader import BatchLoader


def as_logits(context: FoldContext, model: Classifier) -> Callable[[Tensor], Tensor]:
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


def predict(
    context: FoldContext, model: Classifier, pixels: BatchLoader, rows: Ints, tta: str = "none"
) -> Floats:
    """Probabilities (n, C) of rows of any images, the work shared by the workers.

    Parameters
    ----------
    tta : str
        Views that are averaged, see `folds.augment.tta.views`.
    """
    logits, size = as_logits(context, model), context.problem.size
    batches = pixels.batches(eval_batches(context, rows))
    outputs = (mean_probabilities(logits, to_input(batch, size), tta) for _, batch in batches)
    with predicting(model):
        return all_gather(context, outputs, len(rows)).numpy()


def predict_logits(
    context: FoldContext, state: FoldState, position: StagePosition, rows: Ints
) -> Floats:
    """Logits (n, C) of n images in their plain view, from frozen features where they are there.

    Parameters
    ----------
    position : StagePosition
        When the network was trained last: what is frozen until then may be shared.

    Raises
    ------
    DivergenceError
        They are no finite numbers.
    """
    inputs = plain_inputs(context, state.model, position, eval_batches(context, rows))
    outputs = []
    with predicting(state.model, inputs.depth), context.runtime.autocast():
        for batch in inputs.batches:
            outputs.append(state.model(batch.inputs, start=inputs.depth).float())
        logits = all_gather(context, outputs, len(rows)).numpy()
    check_logits(context, state, position, logits)
    return logits


def features_of(
    context: FoldContext, model: Classifier, position: StagePosition, rows: Ints
) -> Floats:
    """Pooled features (n, F) of rows of the images in their plain view, see `predict_logits`."""
    inputs = plain_inputs(context, model, position, eval_batches(context, rows))
    outputs = []
    with predicting(model, inputs.depth), context.runtime.autocast():
        for batch in inputs.batches:
            _, features = model(batch.inputs, start=inputs.depth, with_features=True)
            outputs.append(features.float())
        return all_gather(context, outputs, len(rows), model.head.features).numpy()


def all_gather(
    context: FoldContext, outputs: Iterable[Tensor], count: int, columns: int = 0
) -> Tensor:
    """Put together what all workers computed; every worker calls this.

    Parameters
    ----------
    outputs : iterable of Tensor, shape (B, columns) each
        This worker's, by the batches of `eval_batches`.
    count : int
        Rows in all.
    columns : int
        Default: as many as classes.

    Returns
    -------
    Tensor, shape (count, columns)
        On the CPU.
    """
    width = columns or len(context.problem.images.class_names)
    parts = list(outputs)
    # a worker may have no rows, and then no batch to tell the shape
    kind = parts[0].dtype if parts else torch.float32
    none = torch.zeros(0, width, device=context.runtime.device, dtype=kind)
    return context.workers.gather(torch.cat([none, *parts]), count).cpu()
