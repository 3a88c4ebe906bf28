"""What a model does where it is unsure, as a part of the summary of its run."""

from collections.abc import Mapping
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from folds.arrays import AnyFloats, Bools, Ints
from folds.evaluation.conformal import out_of_fold_sets
from folds.evaluation.costs import least_cost, mean_cost
from folds.evaluation.selective import Point, area_under_risk_coverage
from folds.model.decision import Decision, confidence_of
from tracking.summary_parts import Part


class SetScores(Part):
    """How good prediction sets are."""

    images: int
    coverage: float = Field(description="Share of the images whose set holds the true class.")
    size: float = Field(description="Classes in a set, on average.")
    single: float = Field(description="Share of the sets that hold one class.")
    empty: float = Field(description="Share of the sets that hold none.")

    @classmethod
    def of(cls, sets: Bools, labels: Ints) -> Self:
        """Those of sets (N, C) of images with these labels (N,)."""
        sizes = sets.sum(axis=1)
        return cls(
            images=len(labels),
            coverage=float(sets[np.arange(len(labels)), labels].mean()),
            size=float(sizes.mean()),
            single=float((sizes == 1).mean()),
            empty=float((sizes == 0).mean()),
        )


class ClassSet(Part):
    """One class in prediction sets."""

    name: str
    threshold: float = Field(description="Probability from which on it is in a set.")
    own: bool = Field(description="Whether it had images enough for a threshold of its own.")
    coverage: float | None = Field(description="Of the class; null without images of it.")


class AnswerPoint(Part):
    """What holds if images of at least this confidence are answered, and no others."""

    threshold: float
    answered: float = Field(description="Share of the images.")
    accuracy: float
    low: float = Field(description="Lower bound of the accuracy; all at once, 95% confidence.")


class Costs(Part):
    """What answers cost an image on average."""

    answered: float = Field(description="Of the class of least expected cost.")
    most_probable: float


class DecisionSummary(Part):
    """What the registered model does where it is unsure."""

    evidence: Literal["out-of-fold", "holdout"] = Field(
        description="Which predictions thresholds and accuracies are of."
    )
    coverage: float = Field(description="Asked for.")
    sets: SetScores = Field(
        description="By thresholds that the other folds, or fifths of the hold-out, give."
    )
    classes: list[ClassSet]
    elsewhere: dict[str, SetScores] = Field(
        description="Of the registered model on external images, by their sets' names."
    )
    shift: dict[str, SetScores] = Field(
        description="Under corruptions, by their names, with the registered thresholds; empty "
        "where the probabilities were too many to be kept."
    )
    curve: list[AnswerPoint] = Field(description="Answering the surest only; thresholds fall.")
    aurc: float = Field(description="Area under the risk-coverage curve; lower is better.")
    costs: Costs | None = Field(description="With --costs.")

    def sure_enough(self, accuracy: float) -> AnswerPoint | None:
        """The point of most answers whose accuracy is at least this by its bound."""
        passing = [point for point in self.curve if point.low >= accuracy]
        return max(passing, key=lambda point: point.answered, default=None)


def describe_decision(
    decision: Decision,
    labels: Ints,
    probabilities: AnyFloats,
    groups: NDArray,
    fold: Ints,
    *,
    elsewhere: Mapping[str, SetScores],
    shift: Mapping[str, SetScores],
) -> DecisionSummary:
    """Describe a decision by the predictions that it was chosen by.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
    probabilities : ndarray of float, shape (N, C)
    groups : ndarray of str or int, shape (N,)
    fold : ndarray of int64, shape (N,)
        Parts by which sets are judged. Of one alone they are judged by the thresholds that its own
        images gave.
    """
    several = len(np.unique(fold)) > 1
    sets = (
        out_of_fold_sets(labels, probabilities, groups, fold, decision.coverage)
        if several
        else decision.sets(probabilities)
    )
    answers, costs = least_cost(probabilities, decision.cost_matrix), decision.cost_matrix
    right, confidence = answers == labels, confidence_of(answers, probabilities)
    return DecisionSummary(
        evidence=decision.evidence,
        coverage=decision.coverage,
        sets=SetScores.of(sets, labels),
        classes=_classes(decision, sets, labels),
        elsewhere=dict(elsewhere),
        shift=dict(shift),
        curve=[_point(point) for point in decision.curve],
        aurc=area_under_risk_coverage(right, confidence),
        costs=None
        if costs is None
        else Costs(
            answered=mean_cost(labels, answers, costs),
            most_probable=mean_cost(labels, probabilities.argmax(axis=1), costs),
        ),
    )


def _point(point: Point) -> AnswerPoint:
    return AnswerPoint(**vars(point))


def _classes(decision: Decision, sets: Bools, labels: Ints) -> list[ClassSet]:
    held = sets[np.arange(len(labels)), labels]
    each = [held[labels == label] for label in range(len(decision.class_names))]
    return [
        ClassSet(
            name=name, threshold=threshold, own=not marginal,
            coverage=float(own.mean()) if len(own) else None,
        )
        for name, threshold, marginal, own in zip(
            decision.class_names, decision.thresholds, decision.marginal, each, strict=True
        )
    ]  # fmt: skip
