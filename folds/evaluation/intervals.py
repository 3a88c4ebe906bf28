"""Confidence intervals of scores, by a bootstrap over groups.

The bootstrap gives a score's standard error and nothing more: its percentiles are far too narrow
for a class of few images nearly all of which are right. A score between 0 and 1 gets Wilson's
interval for a proportion, with the effective sample size, which is the number of independent images
that would give the same standard error; a loss gets an interval on the scale of its logarithm.

References
----------
Wilson: Probable inference, the law of succession, and statistical inference, JASA 22, 1927.
Korn, Graubard: Confidence intervals for proportions with small expected number of positive counts
estimated from survey data, Survey Methodology 24, 1998, for the effective sample size and Student's
t with the number of clusters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from folds.arrays import Doubles
from folds.config.scores import LOSSES
from folds.evaluation.predictions import Predictions, ShiftPredictions
from folds.evaluation.replicates import Replicates, Tally, tally
from folds.evaluation.shift_replicates import shift_tally

REPLICATES = 1000


@dataclass(frozen=True)
class Interval:
    """A score and where it is likely to lie; NaN where it is not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """Scores with their intervals.

    Parameters
    ----------
    pooled : mapping of str to Interval
        By the names in `folds.config.scores.SCORES`.
    per_class : mapping of str to sequence of Interval
        precision, recall, f1, roc_auc, of each class.
    """

    pooled: Mapping[str, Interval]
    per_class: Mapping[str, Sequence[Interval]]


def intervals(
    predictions: Predictions,
    *,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Intervals:
    """Intervals of all scores, by resampling groups.

    Parameters
    ----------
    confidence : float
        Share of such intervals that hold the true score: that of these models on very many images
        like these. What other training images would have made of the models is not in it.
    replicates, seed : int
        Of the bootstrap.

    Notes
    -----
    Simulated coverage of 95%: 93 to 97% for pooled scores, 91 to 99% for those of classes of 25
    images and more. The expected calibration error is biased upwards in few images; its interval
    is of what it would be in very many, so the value lies in its upper part.
    """
    sums = tally(predictions)
    return _intervals(sums, sums.bootstrap(replicates, seed), confidence)


def shift_intervals(
    predictions: ShiftPredictions,
    *,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Intervals of the scores under corruptions, by their names: see `ShiftTally.scores`."""
    sums = shift_tally(predictions)
    draws = sums.bootstrap(replicates, seed)
    return {
        name: _wilson(value, draws[name], sums.clusters, confidence)
        for name, value in sums.observed().items()
    }


def standard_error(draws: Doubles, clusters: int) -> float:
    """Standard error of a score.

    Parameters
    ----------
    draws : ndarray of float64, shape (B,)
        The score of the replicates; those in which it is NaN are left out.
    clusters : int
        G. The bootstrap's variance of a mean is too small by (G - 1)/G, which is undone.

    Returns
    -------
    float
        NaN with fewer than two replicates or clusters.
    """
    defined = draws[~np.isnan(draws)]
    if len(defined) < 2 or clusters < 2:
        return float("nan")
    return float(defined.std() * np.sqrt(clusters / (clusters - 1)))


def t_quantile(confidence: float, clusters: int) -> float:
    """Half the width of a two-sided interval in standard errors: Student's t, G - 1 degrees."""
    return float(stats.t.ppf((1 + confidence) / 2, max(clusters - 1, 1)))


def _intervals(sums: Tally, draws: Replicates, confidence: float) -> Intervals:
    observed = sums.observed()
    kinds = dict.fromkeys(LOSSES, _log_scale) | {"ece": _less_bias}
    pooled = {
        name: kinds.get(name, _wilson)(
            float(value[0]), draws.pooled[name], sums.clusters, confidence
        )
        for name, value in observed.pooled.items()
    }
    per_class = {
        name: [
            (_wilson_of_f1 if name == "f1" else _wilson)(
                float(observed.per_class[name][c, 0]), draws.per_class[name][c], count, confidence
            )
            for c, count in enumerate(sums.clusters_per_class)
        ]
        for name in observed.per_class
    }
    return Intervals(pooled, per_class)


def _wilson(value: float, draws: Doubles, clusters: int, confidence: float) -> Interval:
    """Wilson's interval with the effective sample size, for a score between 0 and 1.

    Where nearly all images are right, the replicates hardly differ, and their standard error would
    promise too many effective images. So one more image, right or wrong by chance, is added to the
    clusters: its 1/G is averaged into the reciprocal of that number.
    """
    error = standard_error(draws, clusters)
    if np.isnan(value):
        return Interval(value, value, value)
    if np.isnan(error):
        return Interval(value, 0.0, 1.0)
    spread = value * (1 - value)
    share = error**2 / spread if spread > 0 else 1 / clusters  # 1 / effective sample size
    k = t_quantile(confidence, clusters) ** 2 * (clusters * share + 1 / clusters) / (clusters + 1)
    centre, half = value + k / 2, np.sqrt(k * spread + k * k / 4)
    low, high = (min(max(float(end / (1 + k)), 0.0), 1.0) for end in (centre - half, centre + half))
    return Interval(value, low, high)


def _wilson_of_f1(value: float, draws: Doubles, clusters: int, confidence: float) -> Interval:
    """Of an F1, by the Jaccard index J = F1 / (2 - F1), which is a proportion.

    It is that of the hits among all images that are of the class or predicted as it.
    """
    jaccard = _wilson(value / (2 - value), draws / (2 - draws), clusters, confidence)
    low, high = (2 * end / (1 + end) for end in (jaccard.low, jaccard.high))
    return Interval(value, low, high)


def _log_scale(value: float, draws: Doubles, clusters: int, confidence: float) -> Interval:
    """Of a mean of losses, symmetric in its logarithm, so that it stays above 0 (delta method)."""
    error = standard_error(draws, clusters)
    if value == 0:
        return Interval(value, value, value)
    factor = np.exp(t_quantile(confidence, clusters) * error / value)
    return Interval(value, float(value / factor), float(value * factor))


def _less_bias(value: float, draws: Doubles, clusters: int, confidence: float) -> Interval:
    """Of a calibration error, which is biased upwards: a mean of distances that noise adds to.

    The replicates are biased against the value as the value is against the truth, or less; so the
    lower end allows for twice the difference.
    """
    bias = max(float(draws.mean()) - value, 0.0)
    reach = t_quantile(confidence, clusters) * standard_error(draws, clusters)
    return Interval(value, max(value - 2 * bias - reach, 0.0), value + reach)
