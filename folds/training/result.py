"""What is left of a fold when it is finished: the best epoch's model, and what it predicts."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from folds.arrays import Floats
from folds.config.stages import StagePosition, stage_position
from folds.evaluation.metrics import scores, softmax
from folds.evaluation.shift import corrupted_scores
from folds.images.external import External
from folds.model.lora import merge_adapters
from folds.model.typicality import Typicality
from folds.training.adapted import Look, adapted_shift, fold_appearance, predict_served
from folds.training.checkpoint import FoldState, kept_weights, on_cpu
from folds.training.context import FoldContext
from folds.training.outcome import FoldOutcome
from folds.training.predict import features_of, fold_typicality, predict_logits
from folds.training.validate import (
    external_scores,
    predict_external,
    predict_other_views,
    predict_shift,
    slice_scores,
)

MAPPED = 1000  # images


@dataclass(frozen=True, kw_only=True)
class FoldResult(FoldOutcome):
    """A finished fold with its model.

    Parameters
    ----------
    weights : dict of str to Tensor
        The best epoch's model, on the CPU.
    appearance : callable
        Gives what the training images look like.
    typicality : callable
        Gives how typical an image is, by the validation images; None where they are too few.
    """

    weights: dict[str, Tensor]
    appearance: Look
    typicality: Callable[[], Typicality | None]

    @property
    def outcome(self) -> FoldOutcome:
        """All but the model."""
        return FoldOutcome(**{f.name: getattr(self, f.name) for f in fields(FoldOutcome)})


def fold_result(context: FoldContext, state: FoldState) -> FoldResult:
    """Score the best epoch's model in every way that was asked for."""
    assert state.kept_logits is not None, "a schedule has at least one epoch"
    probabilities = softmax(state.kept_logits.numpy())
    everyone = context.problem.images.labels
    labels = everyone[context.held_out]
    weights = kept_weights(state)
    state.model.load_state_dict(weights)
    if context.problem.config.model.lora is not None:
        merge_adapters(state.model.backbone)
        weights = on_cpu(state.model.state_dict())
    position = stage_position(context.problem.stages, state.kept_epoch)
    other_views = predict_other_views(context, state.model) if len(labels) else {}
    corrupted = predict_shift(context, state.model)
    others = context.problem.externals
    appearance = cache(partial(fold_appearance, context))  # a trial of a search needs none
    external = {e.name: _external(context, state, e, appearance) for e in others}
    if len(labels) and context.problem.config.model.adapt != "none":
        other_views["adapted"] = predict_served(
            context, state.model, context.pixels, context.held_out, appearance
        )
    found = scores(labels, probabilities) if len(labels) else {}
    measured = found | corrupted_scores(everyone, corrupted)
    measured |= slice_scores(context, probabilities.argmax(axis=1))
    for other in others:
        measured |= external_scores(other, external[other.name])
    measured |= adapted_shift(context, state.model, appearance, corrupted)
    measured |= _unadapted(context, state)
    return FoldResult(
        repeat=context.repeat,
        fold=context.number,
        rows=context.held_out,
        probabilities=probabilities,
        weights=weights,
        history=tuple(state.history),
        kept_epoch=state.kept_epoch,
        averaged=state.history[state.kept_epoch].averaged,
        scores=found,
        appearance=appearance,
        typicality=cache(partial(fold_typicality, context, state.model)),
        holdout=_holdout(context, state, position, appearance),
        other_views=other_views,
        other_view_scores={name: scores(labels, seen) for name, seen in other_views.items()},
        corrupted=corrupted,
        external=external,
        measured=measured,
        epoch_logits=_stacked(state, probabilities.shape),
        features=features_of(context, state.model, position, context.held_out[:MAPPED]),
    )


def _external(
    context: FoldContext, state: FoldState, external: External, appearance: Look
) -> Floats:
    """Probabilities (E, C) of external images, as the registered model gives them."""
    rows = np.arange(len(external.images))
    pixels = context.externals[external.name]
    return predict_served(context, state.model, pixels, rows, appearance)


def _unadapted(context: FoldContext, state: FoldState) -> dict[str, float]:
    """What the scores of external images would be without ``--adapt``; empty where it is not."""
    settings = context.problem.config.model
    if settings.adapt == "none":
        return {}
    found: dict[str, float] = {}
    for other in context.problem.externals:
        plain = predict_external(context, state.model, other, settings.tta)
        found |= external_scores(other, plain)
    return {f"unadapted.{name}": value for name, value in found.items()}


def _holdout(
    context: FoldContext, state: FoldState, position: StagePosition, appearance: Look
) -> Floats:
    """Probabilities of the test part, once, when nothing is left to choose."""
    if not len(context.holdout):
        return np.zeros((0, len(context.problem.images.class_names)), np.float32)
    settings = context.problem.config.model
    if (settings.tta, settings.adapt) != ("none", "none"):
        return predict_served(context, state.model, context.pixels, context.holdout, appearance)
    return softmax(predict_logits(context, state, position, context.holdout))


def _stacked(state: FoldState, shape: tuple[int, ...]) -> NDArray[np.float16]:
    """Logits (E, V, C) of the epochs; of none where they were not kept."""
    each = [logits.numpy() for logits in state.epoch_logits]
    return np.stack(each) if each else np.zeros((0, *shape), np.float16)
