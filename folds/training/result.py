"""What is left of a fold when it is finished: the best epoch's model, and what it predicts."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from folds.arrays import Floats, Ints
from folds.config.stages import stage_position
from folds.evaluation.metrics import scores, softmax
from folds.training.checkpoint import EpochReport, FoldState
from folds.training.context import FoldContext
from folds.training.other_views import predict_other_views
from folds.training.predict import features_of, predict, predict_logits
from folds.training.validate import (
    ShiftPredictions,
    external_scores,
    predict_external,
    predict_shift,
)

MAPPED = 1000  # images


@dataclass(frozen=True)
class FoldResult:
    """A finished fold.

    One that trains on all images has no validation part: V is 0, and there are no scores of it.

    Parameters
    ----------
    repeat, fold : int
        Which one.
    rows : ndarray of int64, shape (V,)
        Images of the validation part.
    probabilities : ndarray of float32, shape (V, C)
        Of the best epoch's model.
    weights : dict of str to Tensor
        The best epoch's model, on the CPU.
    history : tuple of EpochReport
        All epochs, in order.
    best_epoch : int
        From 0.
    averaged : bool
        Whether the best model is the moving average of the weights (``--ema``).
    scores : dict
        `folds.evaluation.metrics.scores` of the probabilities.
    holdout : ndarray of float32, shape (H, C)
        Probabilities of the test part (as ``--tta`` says), by the best epoch's model; H is 0
        without one.
    other_views : dict of str to ndarray of float32, shape (V, C)
        As `probabilities`, of other views: ``tta`` averaged over those of ``--tta``, ``augmented``
        of the images as ``--val-augment`` makes them; empty without both.
    other_view_scores : dict of str to dict
        Their scores.
    shift : ShiftPredictions
        What the best epoch's model makes of corrupted validation images (``--shift``).
    external : dict of str to ndarray of float32, shape (E, C)
        Its probabilities of external images (as ``--tta`` says), by their sets' names.
    measured : dict of str to float
        `scores`, and those of corrupted and of external images, by the names of ``--select-by``.
    features : ndarray of float32, shape (min(V, MAPPED), F)
        Pooled features of the first of `rows`, for a map.
    """

    repeat: int
    fold: int
    rows: Ints
    probabilities: Floats
    weights: dict[str, Tensor]
    history: tuple[EpochReport, ...]
    best_epoch: int
    averaged: bool
    scores: dict[str, float]
    holdout: Floats
    other_views: dict[str, Floats]
    other_view_scores: dict[str, dict[str, float]]
    shift: ShiftPredictions
    external: dict[str, Floats]
    measured: dict[str, float]
    features: Floats


def fold_result(context: FoldContext, state: FoldState) -> FoldResult:
    """Score the best epoch's model in every way that was asked for."""
    assert state.best_logits is not None, "a schedule has at least one epoch"
    probabilities = softmax(state.best_logits.numpy())
    best = state.history[state.best_epoch]
    everyone = context.problem.images.labels
    labels = everyone[context.held_out]
    state.model.load_state_dict(state.best_weights)
    other_views = predict_other_views(context, state.model) if len(labels) else {}
    shift = predict_shift(context, state.model)
    others = context.problem.externals
    tta = context.problem.config.model.tta
    external = {e.name: predict_external(context, state.model, e, tta) for e in others}
    found = scores(labels, probabilities) if len(labels) else {}
    measured = found | shift.scores(everyone)
    for other in others:
        measured |= external_scores(other, external[other.name])
    return FoldResult(
        repeat=context.repeat,
        fold=context.number,
        rows=context.held_out,
        probabilities=probabilities,
        weights=state.best_weights,
        history=tuple(state.history),
        best_epoch=state.best_epoch,
        averaged=best.averaged,
        scores=found,
        holdout=_holdout(context, state),
        other_views=other_views,
        other_view_scores={name: scores(labels, seen) for name, seen in other_views.items()},
        shift=shift,
        external=external,
        measured=measured,
        features=features_of(context, state.model, context.held_out[:MAPPED]),
    )


def _holdout(context: FoldContext, state: FoldState) -> Floats:
    """Probabilities of the test part, once, when nothing is left to choose."""
    if not len(context.holdout):
        return np.zeros((0, len(context.problem.images.class_names)), np.float32)
    tta = context.problem.config.model.tta
    if tta != "none":
        return predict(context, state.model, context.pixels, context.holdout, tta)
    position = stage_position(context.problem.stages, state.best_epoch)
    return softmax(predict_logits(context, state, position, context.holdout))
