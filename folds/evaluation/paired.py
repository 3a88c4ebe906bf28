"""Comparisons of two sets of predictions: whether one is better by more than noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from folds.arrays import Doubles, Ints
from folds.evaluation.intervals import REPLICATES, quantile, standard_error
from folds.evaluation.predictions import Predictions, ShiftPredictions
from folds.evaluation.replicates import replicated, tally
from folds.evaluation.shifted import shift_tally

_EXACT = 25  # discordant pairs below which McNemar's test is the binomial


@dataclass(frozen=True)
class CorrectedT:
    """A corrected resampled t test over folds.

    Parameters
    ----------
    mean, low, high : float
        Mean difference over folds and its interval.
    p, p_greater : float
        Two-sided, and one-sided for a mean above 0.
    """

    mean: float
    low: float
    high: float
    p: float
    p_greater: float


@dataclass(frozen=True)
class McNemar:
    """Images that only one of two models predicts rightly, and McNemar's two-sided p."""

    only_a: int
    only_b: int
    p: float


@dataclass(frozen=True)
class Difference:
    """A score of b less that of a.

    Parameters
    ----------
    value : float
    low, high : float
        Two-sided interval.
    lower, upper : float
        One-sided bounds, each at the same confidence.
    p : float
        Two-sided, for no difference.
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


def corrected_t(
    differences: Sequence[float], test_share: float, confidence: float = 0.95
) -> CorrectedT:
    """Test whether the mean difference over folds is not 0, their training parts overlapping.

    Parameters
    ----------
    differences : sequence of float
        Of each fold of each repeat, J in all. With one alone nothing can be said: p is 1.
    test_share : float
        Share of the images that is in a fold's test part, 1/k with k folds.

    References
    ----------
    Nadeau, Bengio: Inference for the Generalization Error, Machine Learning 52, 2003. The mean's
    variance is (1/J + n_test/n_train) times that of the differences.
    """
    count, mean = len(differences), float(np.mean(differences))
    if count < 2:
        return CorrectedT(mean, -np.inf, np.inf, 1.0, 1.0)
    ratio = test_share / (1 - test_share)
    error = float(np.sqrt((1 / count + ratio) * np.var(differences, ddof=1)))
    reach = quantile(confidence, count) * error
    p, p_greater = _p_values(mean, error, count - 1)
    return CorrectedT(mean, mean - reach, mean + reach, p, p_greater)


def mcnemar(labels: Ints, a: Ints, b: Ints) -> McNemar:
    """Test whether two models are wrong equally often, images being independent.

    Parameters
    ----------
    labels, a, b : ndarray of int64, shape (N,)
        True and predicted classes, each image once.

    Notes
    -----
    Exact (binomial) below 25 images on which just one is right, else with the chi-squared
    distribution and the correction for continuity.
    """
    only_a, only_b = (int(((x == labels) & (y != labels)).sum()) for x, y in ((a, b), (b, a)))
    discordant = only_a + only_b
    if discordant < _EXACT:
        p = min(1.0, 2 * float(stats.binom.cdf(min(only_a, only_b), discordant, 0.5)))
    else:
        p = float(stats.chi2.sf((abs(only_a - only_b) - 1) ** 2 / discordant, 1))
    return McNemar(only_a, only_b, p)


def bootstrap_difference(
    a: Predictions,
    b: Predictions,
    *,
    paired: bool = True,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Differences:
    """Differences of all scores, by resampling groups.

    Parameters
    ----------
    a, b : Predictions
        Of the same images in the same rows if `paired`: the same are then drawn for both.

    Raises
    ------
    ValueError
        `paired`, and labels or groups differ.
    """
    if paired:
        check_same_rows(a, b)
    one, two = tally(a), tally(b)
    first = replicated(one, replicates, seed)
    second = replicated(two, replicates, seed if paired else seed + 1)
    value_a, value_b = one.once(), two.once()
    pooled = {
        name: _difference(
            float(value_b.pooled[name][0] - value_a.pooled[name][0]),
            second.pooled[name] - first.pooled[name],
            min(one.clusters, two.clusters),
            confidence,
        )
        for name in value_a.pooled
    }
    counts = [
        min(pair) for pair in zip(one.clusters_of_classes, two.clusters_of_classes, strict=True)
    ]
    per_class = {
        name: [
            _difference(
                float(value_b.per_class[name][c, 0] - value_a.per_class[name][c, 0]),
                second.per_class[name][c] - first.per_class[name][c],
                count,
                confidence,
                steadied=name == "recall",
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
    one, two = shift_tally(a), shift_tally(b)
    first = one.replicated(replicates, seed)
    second = two.replicated(replicates, seed if paired else seed + 1)
    before, after = one.once(), two.once()
    clusters = min(one.clusters, two.clusters)
    return {
        name: _difference(
            after[name] - before[name], second[name] - first[name], clusters, confidence
        )
        for name in before
        if name in after
    }


def fold_differences(a: Predictions, b: Predictions, metric: str) -> list[float]:
    """Differences of a score, b less a, in each fold of each repeat.

    Raises
    ------
    ValueError
        The rows are not the same, or not in the same folds.
    """
    check_same_rows(a, b)
    if not np.array_equal(a.folds, b.folds):
        raise ValueError("the two sets of predictions have different folds")
    found = []
    for number in np.unique(a.folds):
        rows = a.folds == number
        scores = [tally(one.take(rows)).once().pooled[metric][0] for one in (a, b)]
        found.append(float(scores[1] - scores[0]))
    return found


def shift_fold_differences(a: ShiftPredictions, b: ShiftPredictions, name: str) -> list[float]:
    """`fold_differences` of a score under corruptions."""
    check_same_rows(a, b)
    if a.fold is None or b.fold is None or not np.array_equal(a.fold, b.fold):
        raise ValueError("the two sets of predictions have different folds")
    found = []
    for number in np.unique(a.fold):
        rows = a.fold == number
        before, after = (shift_tally(one.take(rows)).once()[name] for one in (a, b))
        found.append(after - before)
    return found


def t_over_folds(
    a: Predictions, b: Predictions, metric: str, confidence: float = 0.95
) -> CorrectedT:
    """`corrected_t` of the differences of all folds, each of the same share of the images."""
    return corrected_t(fold_differences(a, b, metric), a.test_share, confidence)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction of p values for their number, in the order given."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    found = np.empty(len(p_values))
    found[order] = np.minimum(1, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    return found.tolist()


def check_same_rows(a: Predictions | ShiftPredictions, b: Predictions | ShiftPredictions) -> None:
    """Raise ValueError unless labels and groups of two sets of predictions are the same."""
    same = np.array_equal(a.labels, b.labels) and np.array_equal(a.clusters, b.clusters)
    if not same:
        raise ValueError("the two sets of predictions are not of the same rows")


def _difference(
    value: float, draws: Doubles, clusters: int, confidence: float, *, steadied: bool = False
) -> Difference:
    """A difference with bounds; `steadied` by one more image on which just one model is right.

    A recall needs that: of a class of few images two models are right about the same ones too
    often, and the bootstrap then sees no spread.
    """
    error = standard_error(draws, clusters)
    if steadied:
        error = float(np.sqrt((clusters * error) ** 2 + 1) / (clusters + 1))
    two, one = (quantile(c, clusters) * error for c in (confidence, 2 * confidence - 1))
    p, _ = _p_values(value, error, max(clusters - 1, 1))
    return Difference(value, value - two, value + two, value - one, value + one, p)


def _p_values(value: float, error: float, freedom: int) -> tuple[float, float]:
    """Two-sided p, and one-sided for a value above 0; without any spread 0 or 1."""
    if np.isnan(value) or np.isnan(error):
        return 1.0, 1.0
    if error == 0:
        return float(value == 0), float(value <= 0)
    t = value / error
    return 2 * float(stats.t.sf(abs(t), freedom)), float(stats.t.sf(t, freedom))
