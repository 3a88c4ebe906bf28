"""How an ensemble of runs decides where it is unsure."""

from folds.arrays import Floats
from folds.config.evaluation import COVERAGE
from folds.evaluation.costs import cost_matrix
from folds.model.decision import Decision, decision_of
from tracking.decisions import DecisionSummary, describe_decision
from tracking.ensembling.choice import Choice
from tracking.ensembling.summarise import settings


def decide(
    choice: Choice, calibrated: Floats, class_names: tuple[str, ...]
) -> tuple[Decision, DecisionSummary]:
    """Choose thresholds by the ensemble's out-of-fold predictions.

    Parameters
    ----------
    calibrated : ndarray of float32, shape (M, C)
        See `tracking.ensembling.choice.calibrate`.

    Notes
    -----
    Coverage and costs are those that the runs have in common; else the default, and none.
    """
    oof, common = choice.ensemble, settings(choice)
    given = oof.labels, calibrated, oof.groups
    decision = decision_of(
        class_names, *given, coverage=common.get("coverage", COVERAGE),
        costs=cost_matrix(common.get("costs", ""), class_names), evidence="out-of-fold",
    )  # fmt: skip
    return decision, describe_decision(decision, *given, oof.folds, elsewhere={}, shift={})
