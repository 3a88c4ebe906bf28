"""Differences of the scores of two sets of predictions: over all images, and in each fold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from folds.arrays import Doubles, Ints
from folds.evaluation.intervals import REPLICATES, standard_error, t_quantile
from folds.evaluation.predictions import Predictions, ShiftPredictions
from folds.evaluation.replicates import tally
from folds.evaluation.shift_replicates import shift_tally
from folds.evaluation.significance import p_values

_P = TypeVar("_P", Predictions, ShiftPredictions)


@dataclass(frozen=True)
class Difference:
    """A score of b less that of a.

    Parameters
    ----------
    value : float
    low, high : float
        Two-sided interval.
    lower, upper : float
        One-sided bounds, each at the same confidence: nearer to the value than `low` and `high`.
    p : float
        Two-sided, of the hypothesis that there is no difference; Student's t.
    """

    value: float
    low: float
    high: float
    lower: float
    upper: float
    p: float


@dataclass(frozen=True)
class Differences:
    """Differences of all scores, named and ordered as `Intervals` are."""

    pooled: Mapping[str, Difference]
    per_class: Mapping[str, Sequence[Difference]]


def bootstrap_difference(
    a: Predictions,
    b: Predictions,
    *,
    paired: bool = True,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Differences:
    """Differences of all scores, by a bootstrap over groups.

    Parameters
    ----------
    a, b : Predictions
        Of the same images in the same rows if `paired`: the same groups are then drawn for both, so
        that what makes an image hard for both cancels.

    Raises
    ------
    ValueError
        `paired`, and labels or groups differ.
    """
    if paired:
        check_same_rows(a, b)
    tally_a, tally_b = tally(a), tally(b)
    draws_a = tally_a.bootstrap(replicates, seed)
    draws_b = tally_b.bootstrap(replicates, seed if paired else seed + 1)
    value_a, value_b = tally_a.observed(), tally_b.observed()
    pooled = {
        name: difference(
            float(value_b.pooled[name][0] - value_a.pooled[name][0]),
            draws_b.pooled[name] - draws_a.pooled[name],
            min(tally_a.clusters, tally_b.clusters),
            confidence,
        )
        for name in value_a.pooled
    }
    both = zip(tally_a.clusters_per_class, tally_b.clusters_per_class, strict=True)
    counts = [min(pair) for pair in both]
    per_class = {
        name: [
            difference(
                float(value_b.per_class[name][c, 0] - value_a.per_class[name][c, 0]),
                draws_b.per_class[name][c] - draws_a.per_class[name][c],
                count,
                confidence,
                one_more_discordant=name == "recall",
            )
            for c, count in enumerate(counts)
        ]
        for name in value_a.per_class
    }
    return Differences(pooled, per_class)


def shift_difference(
    a: ShiftPredictions,
    b: ShiftPredictions,
    *,
    paired: bool = True,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Difference]:
    """Differences of the scores under corruptions, as `bootstrap_difference`."""
    if paired:
        check_same_rows(a, b)
    tally_a, tally_b = shift_tally(a), shift_tally(b)
    draws_a = tally_a.bootstrap(replicates, seed)
    draws_b = tally_b.bootstrap(replicates, seed if paired else seed + 1)
    value_a, value_b = tally_a.observed(), tally_b.observed()
    clusters = min(tally_a.clusters, tally_b.clusters)
    return {
        name: difference(
            value_b[name] - value_a[name], draws_b[name] - draws_a[name], clusters, confidence
        )
        for name in value_a
        if name in value_b
    }


def fold_scores(predictions: Predictions, metric: str) -> list[float]:
    """A score of each fold of each repeat by itself; NaN where it is not defined."""
    folds = predictions.folds
    parts = (predictions.take(folds == number) for number in np.unique(folds))
    return [_score(part, metric) for part in parts]


def fold_differences(a: Predictions, b: Predictions, metric: str) -> list[float]:
    """Differences of a score, b less a, in each fold of each repeat.

    Raises
    ------
    ValueError
        The rows are not the same, or not in the same folds.
    """
    return _by_fold(a, b, (a.folds, b.folds), lambda fold: _score(fold, metric))


def shift_fold_differences(a: ShiftPredictions, b: ShiftPredictions, name: str) -> list[float]:
    """`fold_differences` of a score under corruptions."""
    return _by_fold(a, b, (a.fold, b.fold), lambda fold: shift_tally(fold).observed()[name])


def _score(predictions: Predictions, metric: str) -> float:
    return float(tally(predictions).observed().pooled[metric][0])


def _by_fold(
    a: _P, b: _P, folds: tuple[Ints | None, Ints | None], score: Callable[[_P], float]
) -> list[float]:
    """Differences of a score in each of the folds, whose numbers both must give alike."""
    check_same_rows(a, b)
    of_a, of_b = folds
    if of_a is None or of_b is None or not np.array_equal(of_a, of_b):
        raise ValueError("the two sets of predictions have different folds")
    rows = [of_a == number for number in np.unique(of_a)]
    return [score(b.take(own)) - score(a.take(own)) for own in rows]


def check_same_rows(a: Predictions | ShiftPredictions, b: Predictions | ShiftPredictions) -> None:
    """Raise ValueError unless labels and groups of two sets of predictions are the same."""
    same = np.array_equal(a.labels, b.labels) and np.array_equal(a.clusters, b.clusters)
    if not same:
        raise ValueError("the two sets of predictions are not of the same rows")


def difference(
    value: float,
    draws: Doubles,
    clusters: int,
    confidence: float,
    *,
    one_more_discordant: bool = False,
) -> Difference:
    """A difference with Student's t bounds by the standard error of its replicates (B,).

    Parameters
    ----------
    one_more_discordant : bool
        Whether to widen the bounds by one more image on which just one model is right. A recall
        needs that: of a class of few images two models are right about the same ones too often,
        and the bootstrap then sees no spread.
    """
    error = standard_error(draws, clusters)
    if one_more_discordant:
        error = float(np.sqrt((clusters * error) ** 2 + 1) / (clusters + 1))
    # a one-sided bound at 95% is an end of the two-sided interval at 90%
    two_sided, one_sided = (
        t_quantile(c, clusters) * error for c in (confidence, 2 * confidence - 1)
    )
    p, _ = p_values(value, error, max(clusters - 1, 1))
    return Difference(
        value, value - two_sided, value + two_sided, value - one_sided, value + one_sided, p
    )
