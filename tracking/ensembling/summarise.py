"""The summary of an ensemble of runs, as `tracking.promote` and `tracking.compare` read it."""

import hashlib
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from folds.arrays import Floats
from folds.evaluation.intervals import Interval, intervals
from folds.evaluation.metrics import scores
from folds.evaluation.predictions import Predictions
from folds.model.mixture import MixtureCard
from tracking.decisions import DecisionSummary
from tracking.ensembling.choice import Choice
from tracking.summary import Summary, over_folds
from tracking.summary_parts import (
    Calibration,
    CandidateSummary,
    ClassSummary,
    EpochChoice,
    Estimate,
    FoldSummary,
    MlflowIds,
    Registered,
    Scores,
    finite,
)

_EVIDENCE = "each image by models that had not seen it, with weights that the other folds choose"
_FLATTERING = ("last", "crossfit", "best")  # epochs, the most flattering last


def summarise(
    choice: Choice,
    card: MixtureCard,
    calibrated: Floats,
    temperature: float,
    *,
    mlflow: MlflowIds,
    model_name: str,
    notices: Iterable[str],
    decision: DecisionSummary,
) -> Summary:
    """Describe an ensemble, all but the version of its model.

    Parameters
    ----------
    calibrated : ndarray of float32, shape (M, C)
        Out of fold, see `calibrate`.

    Notes
    -----
    What runs have in common is told as in theirs. What they need not have in common (stages, lanes,
    seconds, epochs of folds) is that of the run that counts most; settings that differ are left
    out.
    """
    main, oof = choice.chosen[0][0].summary, choice.ensemble
    own = intervals(oof)
    folds = _folds(choice, main)
    around = {name: Estimate.of(one) for name, one in own.pooled.items()}
    pooled = Scores.of(scores(oof.labels, oof.probabilities))
    return main.model_copy(
        update={
            "name": f"ensemble-{digest(choice)[:8]}",
            "date": time.strftime("%Y-%m-%d"),
            "config": settings(choice),
            "config_digest": digest(choice),
            "weights": " + ".join(member.summary.weights for member, _ in choice.chosen),
            "image_size": card.size,
            "folds": folds,
            "over_folds": over_folds([fold.scores for fold in folds]),
            "oof": pooled,
            "oof_intervals": around,
            "classes": _classes(main.class_names, oof, own.per_class),
            "calibration": Calibration(
                temperature=temperature,
                before=around,
                scores=_estimates(oof, calibrated),
            ),
            "decision": decision,
            "epoch_choice": _epochs(choice),
            "oof_other_views": {},
            "oof_shift": None,
            "holdout": None,
            "external": {},
            "candidates": [
                CandidateSummary(
                    kind="ensemble", members=card.members, evidence=_EVIDENCE, scores=pooled,
                    value=finite(choice.select.value(pooled.model_dump())),
                )
            ],
            "mlflow": mlflow,
            "registered": Registered(
                name=model_name, version="", alias="candidate", kind="ensemble",
                why=f"the models of several runs, {choice.words}", fold=None, repeat=None,
            ),
            "notices": list(notices),
        }
    )  # fmt: skip


def settings(choice: Choice) -> dict[str, Any]:
    """Settings that the runs have in common, their backbones, and what chose the ensemble."""
    main, *others = (member.summary.config for member, _ in choice.chosen)
    nothing = object()
    common = {
        name: value
        for name, value in main.items()
        if name in ("data", "folds", "repeats")
        or all(other.get(name, nothing) == value for other in others)
    }
    backbones = dict.fromkeys(str(config.get("backbone")) for config in (main, *others))
    return common | {"backbone": " + ".join(backbones), "select_by": str(choice.select)}


def digest(choice: Choice) -> str:
    """Equal for the same runs with the same weights."""
    parts = sorted((member.run.info.run_id, weight) for member, weight in choice.chosen)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _folds(choice: Choice, main: Summary) -> list[FoldSummary]:
    """The folds of the run that counts most, with the ensemble's scores."""
    oof, found = choice.ensemble, []
    assert oof.fold is not None
    assert oof.repeat is not None
    for fold in main.folds:
        own = oof.take((oof.fold == fold.fold) & (oof.repeat == fold.repeat))
        changed = {"scores": Scores.of(scores(own.labels, own.probabilities))}
        found.append(fold.model_copy(update={**changed, "other_views": {}, "measured": {}}))
    return found


def _classes(
    names: list[str], oof: Predictions, per_class: Mapping[str, Any]
) -> list[ClassSummary]:
    counts = np.bincount(oof.labels, minlength=len(names))
    return [
        ClassSummary(
            name=name,
            images=int(counts[label]),
            **{score: Estimate.of(each[label]) for score, each in per_class.items()},
        )
        for label, name in enumerate(names)
    ]


def _estimates(oof: Predictions, probabilities: Floats) -> dict[str, Estimate]:
    changed = Predictions(oof.labels, probabilities, oof.groups)
    found: Mapping[str, Interval] = intervals(changed).pooled
    return {name: Estimate.of(one) for name, one in found.items()}


def _epochs(choice: Choice) -> EpochChoice:
    """The most flattering rule of the runs, and the means of their values."""
    each = [(member.summary.epoch_choice, weight) for member, weight in choice.chosen]

    def mean(values: list[float]) -> float:
        return float(np.average(values, weights=[weight for _, weight in each]))

    crossfit = [one.crossfit for one, _ in each if one.crossfit is not None]
    return EpochChoice(
        rule=max((one.rule for one, _ in each), key=_FLATTERING.index),
        best=mean([one.best for one, _ in each]),
        last=mean([one.last for one, _ in each]),
        crossfit=mean(crossfit) if len(crossfit) == len(each) else None,
    )
