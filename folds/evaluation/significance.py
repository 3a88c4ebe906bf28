"""Tests of whether one model is better than another by more than noise.

Two kinds of noise are told apart. Other images of the same kind would give other scores to the same
two models: McNemar's test measures that, and so does the bootstrap of `folds.evaluation.paired`.
Other training images would give other models: the corrected t test over folds measures that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from folds.arrays import Ints
from folds.evaluation.intervals import t_quantile

_EXACT = 25  # discordant images below which McNemar's test is the binomial one


@dataclass(frozen=True)
class CorrectedT:
    """A corrected resampled t test of the differences of a score over folds.

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


def corrected_t(
    differences: Sequence[float], test_share: float, confidence: float = 0.95
) -> CorrectedT:
    """Test whether the mean difference over folds is 0, though folds share training images.

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
    reach = t_quantile(confidence, count) * error
    p, p_greater = p_values(mean, error, count - 1)
    return CorrectedT(mean, mean - reach, mean + reach, p, p_greater)


def mcnemar(labels: Ints, a: Ints, b: Ints) -> McNemar:
    """McNemar's test of whether two models are wrong equally often, images being independent.

    Parameters
    ----------
    labels, a, b : ndarray of int64, shape (N,)
        True and predicted classes, each image once.

    Notes
    -----
    Only the discordant images count, on which just one model is right. Below 25 of them the test
    is exact (binomial), else with the chi-squared distribution and the correction for continuity.

    References
    ----------
    McNemar: Note on the sampling error of the difference between correlated proportions or
    percentages, Psychometrika 12, 1947. Edwards, Psychometrika 13, 1948, for the correction.
    """
    only_a, only_b = (int(((x == labels) & (y != labels)).sum()) for x, y in ((a, b), (b, a)))
    discordant = only_a + only_b
    if discordant < _EXACT:
        p = min(1.0, 2 * float(stats.binom.cdf(min(only_a, only_b), discordant, 0.5)))
    else:
        p = float(stats.chi2.sf((abs(only_a - only_b) - 1) ** 2 / discordant, 1))
    return McNemar(only_a, only_b, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction of p values for their number, in the order given.

    References
    ----------
    Holm: A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6, 1979.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    return adjusted.tolist()


def p_values(value: float, error: float, freedom: int) -> tuple[float, float]:
    """Student's t test of a value by its standard error.

    Parameters
    ----------
    freedom : int
        Degrees of freedom.

    Returns
    -------
    two_sided, one_sided : float
        The latter for a value above 0. Without any spread 0 or 1; 1 for what is not a number.
    """
    if np.isnan(value) or np.isnan(error):
        return 1.0, 1.0
    if error == 0:
        return float(value == 0), float(value <= 0)
    t = value / error
    return 2 * float(stats.t.sf(abs(t), freedom)), float(stats.t.sf(t, freedom))
