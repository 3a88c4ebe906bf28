"""Measuring a model: on the validation part as it is, in other views and corrupted, and elsewhere.

After each epoch as far as ``--select-by`` needs it, and once more for a finished fold.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from folds.arrays import Floats, Ints
from folds.augment import augment, make_policy, to_input
from folds.config.corruptions import Case, Shift, suite
from folds.config.stages import Stage
from folds.corruptions import corrupt, keys_of
from folds.evaluation.metrics import quick_scores, scores, softmax
from folds.evaluation.predictions import CorruptedPredictions
from folds.evaluation.shift import corrupted_scores
from folds.evaluation.slices import worst_scores
from folds.images.external import External
from folds.model.backbone import Classifier
from folds.model.folding import predicting
from folds.sampling import uniform_table
from folds.training.context import FoldContext
from folds.training.predict import all_gather, as_logits, eval_batches, predict

ENOUGH = 8  # epochs of training beside which the fast suite may see every validation image
EACH_EPOCH = 0.2  # share of them that it sees after an epoch, where models are chosen by it
FEWEST = 100  # images
MOST_KEPT = 2**24  # probabilities of a fold's corrupted images, 32 MB of them
_AUGMENTED_EPOCH = 2**31  # of the table that augments validation images: no training epoch has it


def selection_score(context: FoldContext, model: Classifier, logits: Floats) -> float:
    """Value of ``--select-by`` after an epoch; larger is better.

    Parameters
    ----------
    logits : ndarray of float32, shape (V, C)
        Of the validation part, by this model.
    """
    problem = context.problem
    select, labels = problem.select_by, problem.images.labels
    measured = quick_scores(labels[context.held_out], logits)
    measured["log_loss"] = measured["loss"]
    # the other scores take longer than the quick ones, so they wait until somebody asks for them
    if not measured.keys() >= {name for name in select.names if "." not in name}:
        measured |= scores(labels[context.held_out], softmax(logits))
    if select.corruptions:
        cases = [case for case in suite("fast") if case[0] in select.corruptions]
        measured |= corrupted_scores(labels, predict_corrupted(context, model, cases, EACH_EPOCH))
    if select.columns:
        measured |= slice_scores(context, logits.argmax(axis=1))
    for external in problem.externals:
        if external.name in select.externals:
            measured |= external_scores(external, predict_external(context, model, external))
    return select.value(measured)


def slice_scores(context: FoldContext, predicted: Ints) -> dict[str, float]:
    """Scores of the worst site and slices, of classes (V,) predicted for the validation part.

    By the names of ``--select-by``.
    """
    images, rows = context.problem.images, context.held_out
    columns = {name: values[rows] for name, values in images.columns.items()}
    return worst_scores(columns, images.labels[rows], predicted, len(rows) / len(images))


def predict_shift(context: FoldContext, model: Classifier) -> CorruptedPredictions:
    """Predictions of a finished fold for the suite of ``--shift``."""
    kind = context.problem.config.evaluation.shift
    share = shift_share(kind, context.problem.stages)
    return predict_corrupted(context, model, suite(kind), share, keep=True)


def shift_share(kind: Shift, stages: Sequence[Stage]) -> float:
    """Share of the validation images that are corrupted: with ``fast`` a fifth of a run's time.

    Nineteen views of each cost about as much as an epoch of training; a frozen epoch counts a
    quarter. The share is counted, not taken from a clock: results depend on no machine.
    """
    if kind == "full":
        return 1.0
    trained = sum(stage.epochs * (1.0 if stage.share > 0 else 0.25) for stage in stages)
    return min(1.0, trained / ENOUGH)


def predict_corrupted(
    context: FoldContext,
    model: Classifier,
    cases: Sequence[Case],
    share: float,
    *,
    keep: bool = False,
) -> CorruptedPredictions:
    """Predict the classes of some images of the validation part under each corruption.

    Parameters
    ----------
    keep : bool
        Keep the probabilities too, if they are at most `MOST_KEPT`.

    Notes
    -----
    Which images these are depends on their ids alone.
    """
    problem = context.problem
    rows = _subset(context, share) if cases else context.held_out[:0]
    logits = as_logits(context, model)
    parts = eval_batches(context, rows)
    outputs = []
    classes = len(problem.images.class_names)
    keep = keep and 0 < len(cases) * len(rows) * classes <= MOST_KEPT

    def predicted_of(pixels: Tensor, ids: NDArray[np.str_], part: slice) -> Tensor:
        images, keys = to_input(pixels[part], problem.size), keys_of(ids[part])
        each = [logits(corrupt(images, keys, *case)).float() for case in cases]
        if keep:
            return torch.cat([one.softmax(dim=1) for one in each], dim=1)
        return torch.stack([one.argmax(dim=1) for one in each], dim=1)

    with predicting(model):
        for part, (_, pixels) in zip(parts, context.pixels.batches(parts), strict=True):
            of = partial(predicted_of, pixels, problem.images.ids[part])
            outputs.append(context.pieces(len(pixels), of))
        width = max(len(cases), 1) * (classes if keep else 1)
        found = all_gather(context, outputs, len(rows), width).numpy()
    if not keep:
        return CorruptedPredictions(rows, tuple(cases), found.astype(np.int64).T[: len(cases)])
    chances = found.reshape(len(rows), -1, classes)[:, : len(cases)].swapaxes(0, 1)
    return CorruptedPredictions(
        rows, tuple(cases), chances.argmax(axis=2), probabilities=chances.astype(np.float16)
    )


def _subset(context: FoldContext, share: float) -> Ints:
    """A share of the validation part, those whose ids have the lowest keys; in their order."""
    rows = context.held_out
    count = min(len(rows), max(round(share * len(rows)), FEWEST))
    keys = keys_of(context.problem.images.ids[rows]).numpy()
    return rows[np.sort(np.argsort(keys, kind="stable")[:count])]


def predict_external(
    context: FoldContext, model: Classifier, external: External, tta: str = "none"
) -> Floats:
    """Probabilities (E, C) of external images, averaged over the views of `folds.augment.tta`."""
    rows = np.arange(len(external.images))
    return predict(context, model, context.externals[external.name], rows, tta)


def external_scores(external: External, probabilities: Floats) -> dict[str, float]:
    """Scores by the names of ``--select-by``."""
    measured = scores(external.images.labels, probabilities)
    return {f"external.{external.name}.{name}": value for name, value in measured.items()}


def predict_other_views(context: FoldContext, model: Classifier) -> dict[str, Floats]:
    """Probabilities (V, C) of the validation part in the views that were asked for.

    Returns
    -------
    dict
        ``tta``: averaged over the views of ``--tta``; ``augmented``: of each image as
        ``--val-augment`` makes it, the same in every fold and epoch.
    """
    config = context.problem.config
    probabilities = {}
    if config.model.tta != "none":
        probabilities["tta"] = predict(
            context, model, context.pixels, context.held_out, config.model.tta
        )
    if config.train.val_augment != "none":
        probabilities["augmented"] = _augmented(context, model, config.train.val_augment)
    return probabilities


def _augmented(context: FoldContext, model: Classifier, text: str) -> Floats:
    """Probabilities (V, C) of the validation part, each image as a policy makes it."""
    problem, policy = context.problem, make_policy(text)
    seed, count = problem.config.split.seed, len(problem.images)
    table = uniform_table(seed, _AUGMENTED_EPOCH, count, policy.columns)
    parts = eval_batches(context, context.held_out)
    logits = as_logits(context, model)

    def seen(pixels: Tensor, rows: Floats, part: slice) -> Tensor:
        images = augment(pixels[part], rows[part], policy, problem.size)
        return logits(images).float().softmax(dim=1)

    with predicting(model):
        probabilities = (
            context.pieces(len(part), partial(seen, pixels, table[part]))
            for part, (_, pixels) in zip(parts, context.pixels.batches(parts), strict=True)
        )
        return all_gather(context, probabilities, len(context.held_out)).numpy()
