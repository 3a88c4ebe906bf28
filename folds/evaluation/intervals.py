"""Bootstrap intervals of scores, by groups.

A score between 0 and 1 gets Wilson's interval, with as many images as a proportion would need for
the standard error that the bootstrap finds: the bootstrap's own percentiles are far too narrow for
a class of few images nearly all of which are right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from folds.arrays import Doubles
from folds.config.scores import LOSSES
from folds.evaluation.predictions import Predictions, ShiftPredictions
from folds.evaluation.replicates import Replicates, Tally, replicated, tally
from folds.evaluation.shifted import shift_tally

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
        accuracy, balanced_accuracy, macro_f1, roc_auc, log_loss, brier, ece.
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
    found = tally(predictions)
    return _summary(found, replicated(found, replicates, seed), confidence)


def shift_intervals(
    predictions: ShiftPredictions,
    *,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Intervals of the scores under corruptions, by their names: see `ShiftTally.scores`."""
    found = shift_tally(predictions)
    draws = found.replicated(replicates, seed)
    return {
        name: _bounded(value, draws[name], found.clusters, confidence)
        for name, value in found.once().items()
    }


def standard_error(draws: Doubles, clusters: int) -> float:
    """Standard error by the replicates (B,) that are not NaN, for a score of few clusters, too."""
    there = draws[~np.isnan(draws)]
    if len(there) < 2 or clusters < 2:
        return float("nan")
    return float(there.std() * np.sqrt(clusters / (clusters - 1)))


def quantile(confidence: float, clusters: int) -> float:
    """Standard errors within which a two-sided interval of a score of some clusters lies."""
    return float(stats.t.ppf((1 + confidence) / 2, max(clusters - 1, 1)))


def _summary(found: Tally, draws: Replicates, confidence: float) -> Intervals:
    value = found.once()
    pooled = {
        name: (_positive if name in LOSSES else _bounded)(
            float(value.pooled[name][0]), draws.pooled[name], found.clusters, confidence
        )
        for name in value.pooled
    }
    pooled["ece"] = _biased(pooled["ece"], draws.pooled["ece"], found.clusters, confidence)
    per_class = {
        name: [
            (_by_jaccard if name == "f1" else _bounded)(
                float(value.per_class[name][c, 0]), draws.per_class[name][c], count, confidence
            )
            for c, count in enumerate(found.clusters_of_classes)
        ]
        for name in value.per_class
    }
    return Intervals(pooled, per_class)


def _bounded(value: float, draws: Doubles, clusters: int, confidence: float) -> Interval:
    """Wilson's interval; one more image, right or wrong by chance, steadies the standard error."""
    error = standard_error(draws, clusters)
    if np.isnan(value):
        return Interval(value, value, value)
    if np.isnan(error):
        return Interval(value, 0.0, 1.0)
    spread = value * (1 - value)
    share = error**2 / spread if spread > 0 else 1 / clusters
    k = quantile(confidence, clusters) ** 2 * (clusters * share + 1 / clusters) / (clusters + 1)
    centre, half = value + k / 2, np.sqrt(k * spread + k * k / 4)
    low, high = (min(max(float(end / (1 + k)), 0.0), 1.0) for end in (centre - half, centre + half))
    return Interval(value, low, high)


def _by_jaccard(value: float, draws: Doubles, clusters: int, confidence: float) -> Interval:
    """Of an F1, by the proportion that it is a monotone function of: hits among all concerned."""
    found = _bounded(value / (2 - value), draws / (2 - draws), clusters, confidence)
    return Interval(value, 2 * found.low / (1 + found.low), 2 * found.high / (1 + found.high))


def _positive(value: float, draws: Doubles, clusters: int, confidence: float) -> Interval:
    """Of a mean of losses, by its logarithm."""
    error = standard_error(draws, clusters)
    if value == 0:
        return Interval(value, value, value)
    factor = np.exp(quantile(confidence, clusters) * error / value)
    return Interval(value, float(value / factor), float(value * factor))


def _biased(found: Interval, draws: Doubles, clusters: int, confidence: float) -> Interval:
    """Of a calibration error: resampling adds as much bias again as, or less than, there is."""
    bias = max(float(draws.mean()) - found.value, 0.0)
    reach = quantile(confidence, clusters) * standard_error(draws, clusters)
    return Interval(found.value, max(found.value - 2 * bias - reach, 0.0), found.value + reach)
