"""Predictions of a network: the passes without gradients, shared by a fold's workers.

Each worker takes a contiguous part of the rows, in batches twice as large as training's, and all of
them get everyone's results (`all_gather`).
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor

from folds.arrays import Floats, Ints
from folds.augment import to_input
from folds.augment.tta import mean_probabilities
from folds.config.stages import StagePosition
from folds.corruptions import keys_of
from folds.model.backbone import Classifier
from folds.model.folding import predicting
from folds.model.typicality import Typicality
from folds.training.checkpoint import FoldState
from folds.training.context import FoldContext
from folds.training.divergence import check_logits
from folds.training.frozen import EVAL_BATCH_FACTOR
from folds.training.inputs import plain_inputs
from folds.training.loader import BatchLoader

_TYPICAL, _AT_ONCE = 1000, 64  # images that say what is typical, and in a batch
FOR_STATISTICS = 2000  # training images that batch norm's statistics are computed of anew


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

    def probabilities(batch: Tensor) -> Tensor:
        return context.pieces(
            len(batch), lambda part: mean_probabilities(logits, to_input(batch[part], size), tta)
        )

    with predicting(model):
        outputs = (probabilities(batch) for _, batch in batches)
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
    logits = _plain_pass(context, state.model, position, rows, 0)
    check_logits(context, state, position, logits)
    return logits


def features_of(
    context: FoldContext, model: Classifier, position: StagePosition, rows: Ints
) -> Floats:
    """Pooled features (n, F) of rows of the images in their plain view, see `predict_logits`."""
    return _plain_pass(context, model, position, rows, model.head.features)


def fold_typicality(context: FoldContext, model: Classifier) -> Typicality | None:
    """How typical an image is for a model, by its validation images; in one worker alone."""
    rows = context.held_out[:_TYPICAL]
    parts = [rows[first : first + _AT_ONCE] for first in range(0, len(rows), _AT_ONCE)]
    size = context.problem.size

    def features_halfway(pixels: Tensor, part: slice) -> Tensor:
        return model.halfway(to_input(pixels[part], size))[1]

    with predicting(model, model.middle):
        features = [
            context.pieces(len(pixels), partial(features_halfway, pixels)).cpu().numpy()
            for _, pixels in context.pixels.batches(parts)
        ]
    if not features:
        return None
    return Typicality.fit(np.concatenate(features), context.problem.images.labels[rows])


def _plain_pass(
    context: FoldContext, model: Classifier, position: StagePosition, rows: Ints, features: int
) -> Floats:
    """Logits of rows in their plain view, or if there shall be any, so many pooled features."""
    inputs = plain_inputs(context, model, position, eval_batches(context, rows))

    def outputs(batch: Tensor, part: slice) -> Tensor:
        given = batch[part] if inputs.depth else to_input(batch[part], context.problem.size)
        if not features:
            return cast(Tensor, model(given, start=inputs.depth)).float()
        _, pooled = model(given, start=inputs.depth, with_features=True)
        return cast(Tensor, pooled).float()

    with predicting(model, inputs.depth), context.runtime.autocast():
        parts = (
            context.pieces(len(batch.inputs), partial(outputs, batch.inputs))
            for batch in inputs.batches
        )
        return all_gather(context, parts, len(rows), features).numpy()


def training_images(context: FoldContext) -> Iterator[Tensor]:
    """Some images of the training part in the plain view that is served, in whole batches.

    They are chosen by their ids, up to `FOR_STATISTICS`; at least one batch.
    """
    problem = context.problem
    keys = keys_of(problem.images.ids[context.train]).numpy()
    rows = context.train[np.argsort(keys, kind="stable")[:FOR_STATISTICS]]
    batch = min(problem.config.train.batch_size, len(rows))
    parts = [rows[first : first + batch] for first in range(0, len(rows) - batch + 1, batch)]
    return (to_input(pixels, problem.size) for _, pixels in context.pixels.batches(parts))


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
