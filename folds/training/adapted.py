"""Predictions as the registered model makes them: by ``--tta`` and ``--adapt``."""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from folds.adaptation import Appearance, appearance_of, bring
from folds.arrays import Floats, Ints
from folds.augment import to_input
from folds.augment.tta import mean_probabilities
from folds.corruptions import corrupt, keys_of
from folds.evaluation.label_shift import shifted
from folds.evaluation.predictions import CorruptedPredictions
from folds.evaluation.shift import corrupted_scores
from folds.model.adapting import LOOKED_AT, looked_at, settle, table_norms
from folds.model.backbone import Classifier
from folds.model.folding import predicting
from folds.training.context import FoldContext
from folds.training.loader import BatchLoader
from folds.training.predict import all_gather, as_logits, eval_batches, predict

_BATCH = 64
_RARE = 1e-6  # images of a class that has none

View = Callable[[Tensor, Ints], Tensor]  # of images (B, 3, S, S) and their rows
Look = Callable[[], Appearance]  # asked only where it matters


def fold_appearance(context: FoldContext) -> Appearance:
    """What a fold's training images look like, and the class shares that it trains on."""
    ids, balance = context.problem.images.ids, context.balance
    rows = context.train[np.argsort(keys_of(ids[context.train]).numpy(), kind="stable")]
    images = _images(context, context.pixels, np.sort(rows[:LOOKED_AT]), _plain)
    return appearance_of(images, np.maximum(balance.targets * balance.weights, _RARE).tolist())


def predict_served(
    context: FoldContext, model: Classifier, pixels: BatchLoader, rows: Ints, appearance: Look
) -> Floats:
    """Probabilities (n, C) of a table of images as the registered model gives them."""
    settings = context.problem.config.model
    if settings.adapt == "none":
        return predict(context, model, pixels, rows, settings.tta)
    return _adapted(context, model, pixels, rows, appearance(), _plain)


def adapted_shift(
    context: FoldContext, model: Classifier, appearance: Look, corrupted: CorruptedPredictions
) -> dict[str, float]:
    """Scores under the corruptions that a fold was scored under, each a table that is adapted to.

    Returns
    -------
    dict of str to float
        By the names of ``--select-by`` after ``adapted.``; empty without ``--adapt``.
    """
    problem, rows = context.problem, corrupted.rows
    if problem.config.model.adapt == "none" or not corrupted.predicted.size:
        return {}

    def seen(name: str, severity: int, images: Tensor, own: Ints) -> Tensor:
        return corrupt(images, keys_of(problem.images.ids[own]), name, severity)

    each = [
        _adapted(context, model, context.pixels, rows, appearance(), partial(seen, *case))
        for case in corrupted.cases
    ]
    predicted = np.stack([found.argmax(axis=1) for found in each])
    adapted = CorruptedPredictions(rows, corrupted.cases, predicted)
    found = corrupted_scores(problem.images.labels, adapted)
    return {f"adapted.{name}": value for name, value in found.items()}


def _adapted(
    context: FoldContext,
    model: Classifier,
    pixels: BatchLoader,
    rows: Ints,
    appearance: Appearance,
    view: View,
) -> Floats:
    """Probabilities (n, C) of a table; all workers look at the same sample of it."""
    settings, size = context.problem.config.model, context.problem.size
    answer = partial(mean_probabilities, as_logits(context, model), kind=settings.tta)
    parts = eval_batches(context, rows)
    model.eval()
    with torch.inference_mode():
        sample = cache(partial(_images, context, pixels, rows[looked_at(len(rows))], view))
        plan = settle([model], answer, sample, len(rows), appearance, settings.adapt)
        with table_norms([model], sample, appearance, plan), predicting(model):

            def answers(batch: Tensor, own: Ints, piece: slice) -> Tensor:
                images = view(to_input(batch[piece], size), own[piece])
                return answer(bring(images, appearance, plan.kinds))

            outputs = (
                context.pieces(len(own), partial(answers, batch, own))
                for own, (_, batch) in zip(parts, pixels.batches(parts), strict=True)
            )
            found = all_gather(context, outputs, len(rows)).numpy()
    return shifted(found, np.array(appearance.shares)) if "prior" in plan.kinds else found


def _images(context: FoldContext, pixels: BatchLoader, rows: Ints, view: View) -> list[Tensor]:
    """Inputs (B, 3, S, S) of rows, in batches."""
    parts = [rows[first : first + _BATCH] for first in range(0, len(rows), _BATCH)]
    size = context.problem.size
    return [
        view(to_input(batch, size), own)
        for own, (_, batch) in zip(parts, pixels.batches(parts), strict=True)
    ]


def _plain(images: Tensor, _rows: Ints) -> Tensor:
    return images
