"""How the model that is registered decides where it is unsure."""

from collections.abc import Iterator

import numpy as np

from distributed.outcome.assessment import Assessment
from distributed.outcome.candidates import HOLDOUT_PARTS, Candidate
from distributed.outcome.pooling import Pooled
from distributed.run import Run
from folds.arrays import Ints
from folds.evaluation.calibration import served, tempered
from folds.evaluation.predictions import Predictions, clusters
from folds.model.decision import Decision, decision_of
from tracking.decisions import DecisionSummary, SetScores, describe_decision


def decide(
    run: Run, pooled: Pooled, assessment: Assessment, chosen: Candidate
) -> tuple[Decision, DecisionSummary]:
    """Choose thresholds by what is known of a candidate's answers for images it had not seen.

    Notes
    -----
    These are its own for the hold-out, where that is large enough to fit its temperature. Else
    they are the folds' models' out of fold. An ensemble is surer than its members, so its sets hold
    the true class somewhat more often than was asked for.
    """
    problem, evaluation = run.prepared.problem, run.config.evaluation
    known, fold = _evidence(pooled, assessment, chosen)
    decision = decision_of(
        problem.images.class_names, known.labels, known.probabilities, known.groups,
        coverage=evaluation.coverage, costs=problem.costs, evidence=chosen.fitted_on,
    )  # fmt: skip
    described = describe_decision(
        decision, known.labels, known.probabilities, known.groups, fold,
        elsewhere={
            name: SetScores.of(decision.sets(chosen.external[name]), unseen.labels)
            for name, unseen in pooled.external.items()
        },
        shift=dict(_shift(problem.images.labels, pooled, decision, chosen.temperature)),
    )  # fmt: skip
    return decision, described


def _evidence(
    pooled: Pooled, assessment: Assessment, chosen: Candidate
) -> tuple[Predictions, Ints]:
    """Tempered predictions for unseen images, and the parts by which sets are judged (M,)."""
    unseen, oof = pooled.holdout, pooled.oof
    if chosen.fitted_on == "holdout" and unseen is not None and chosen.holdout is not None:
        part = clusters(unseen.groups) % HOLDOUT_PARTS
        return Predictions(unseen.labels, chosen.holdout, unseen.groups), part
    fold = oof.folds
    # of a single fold no other gives the temperature
    known = assessment.calibrated if fold.any() else served([pooled.served], chosen.temperature)
    return Predictions(oof.labels, known, oof.groups), fold


def _shift(
    labels: Ints, pooled: Pooled, decision: Decision, temperature: float
) -> Iterator[tuple[str, SetScores]]:
    """Sets of corrupted images by corruption, all its severities together."""
    shift = pooled.shift
    names = [name for name, _ in shift.cases]
    for name in dict.fromkeys(names) if len(shift.probabilities) else ():
        own = [number for number, other in enumerate(names) if other == name]
        sets = [decision.sets(tempered(shift.probabilities[number], temperature)) for number in own]
        yield name, SetScores.of(np.concatenate(sets), np.tile(labels[shift.rows], len(own)))
