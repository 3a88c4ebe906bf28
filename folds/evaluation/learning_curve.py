"""Would more images help? Scores by the number of training images, and the law they follow.

References
----------
Viering, Loog: The shape of learning curves: a review, IEEE TPAMI 45, 2023, for power laws, and for
the curves that follow none.
Mahmood et al.: How much more data do I need?, CVPR 2022, for how far such laws err far from the
points that they were fitted to: nothing beyond twice the images is said here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from folds.arrays import Doubles
from folds.config.scores import sign
from folds.evaluation.intervals import Interval, intervals
from folds.evaluation.predictions import Predictions
from folds.evaluation.replicates import tally

FEWEST = 4  # points that a law of three numbers can be wrong about
REPLICATES = 200
_EXPONENTS = np.geomspace(0.05, 2, 40)


@dataclass(frozen=True)
class PowerLaw:
    """score = limit - factor n^-exponent, which rises; of a loss the negative.

    Parameters
    ----------
    limit : float
        With any number of images.
    factor, exponent : float
        Above 0.
    """

    limit: float
    factor: float
    exponent: float

    def at(self, images: Doubles | float) -> Doubles:
        """The score at these numbers of images."""
        return np.asarray(self.limit - self.factor * np.asarray(images) ** -self.exponent)

    def gain(self, images: float) -> float:
        """What twice the images add to the score."""
        return float(self.at(2 * images) - self.at(images))


@dataclass(frozen=True)
class LearningCurve:
    """Scores by the number of training images.

    Parameters
    ----------
    images : ndarray of float64, shape (P,)
        Of a training part, in the mean over folds; ascending.
    scores : list of mapping of str to Interval
        Of each point, by the names in `folds.config.scores.SCORES`.
    law : PowerLaw, optional
        Of one of the scores; None where none is sound, see `learning_curve`.
    gain : Interval, optional
        What twice the images would add to that score, larger being better.
    """

    images: Doubles
    scores: list[dict[str, Interval]]
    law: PowerLaw | None = None
    gain: Interval | None = None


def learning_curve(
    images: Sequence[float], points: Sequence[Predictions], score: str
) -> LearningCurve:
    """Score each point, and see whether the scores follow a power law.

    Parameters
    ----------
    images : sequence of float
        Training images of each point, ascending; the last point is of all.
    points : sequence of Predictions
        Out of fold, of the same images in the same order.
    score : str
        What the law is of.

    Notes
    -----
    A law is told where there are 4 points or more; it passes through the intervals of all points;
    that of the points but for the last meets the interval of the last one; and it rises. Its gain
    has the middle 95% of what the laws of bootstrap replicates gain, in which all points are of the
    same images. What other training images would have made of the models is not in it.
    """
    number = np.asarray(images, np.float64)
    scores = [dict(intervals(one).pooled) for one in points]
    own, turn = [of[score] for of in scores], sign(score)
    values = turn * np.array([one.value for one in own])
    ends = turn * np.array([(one.low, one.high) for one in own])
    low, high = ends.min(axis=1), ends.max(axis=1)
    best = 0.0 if turn < 0 else 1.0
    law = _sound_law(number, values, low, high, best)
    if law is None:
        return LearningCurve(number, scores)
    draws = np.stack([tally(one).bootstrap(REPLICATES, 0).pooled[score] for one in points], axis=1)
    gains = [
        fit_power_law(number, turn * draw, high - low, best).gain(number[-1])
        for draw in draws[~np.isnan(draws).any(axis=1)]
    ]
    around = np.quantile(gains, (0.025, 0.975)) if gains else (np.nan, np.nan)
    gain = Interval(law.gain(number[-1]), float(around[0]), float(around[1]))
    return LearningCurve(number, scores, law, gain)


def _sound_law(
    images: Doubles, values: Doubles, low: Doubles, high: Doubles, best: float
) -> PowerLaw | None:
    if len(images) < FEWEST or not np.isfinite([*values, *low, *high]).all():
        return None
    law = fit_power_law(images, values, high - low, best)
    before = fit_power_law(images[:-1], values[:-1], (high - low)[:-1], best)
    through = (low <= law.at(images)) & (law.at(images) <= high)
    foretold = low[-1] <= before.at(images[-1]) <= high[-1]
    return law if through.all() and foretold and law.gain(images[-1]) > 0 else None


def fit_power_law(images: Doubles, values: Doubles, widths: Doubles, best: float) -> PowerLaw:
    """Fit a power law by least squares, weighted by the points' intervals.

    Parameters
    ----------
    images, values, widths : ndarray of float64, shape (P,)
        Scores, larger being better, and the widths of their intervals.
    best : float
        The greatest score that there is, which the limit does not exceed.

    Notes
    -----
    For each of 40 exponents from 0.05 to 2 the other two numbers are a problem of least squares
    with numbers that are not negative; the exponent of the least error is taken.
    """
    weights = 1 / np.maximum(widths, 1e-9)
    scale = images[-1]

    def fitted(exponent: float) -> tuple[float, PowerLaw]:
        columns = np.stack([np.ones_like(images), (images / scale) ** -exponent], axis=1)
        (short, factor), error = nnls(columns * weights[:, None], (best - values) * weights)
        return error, PowerLaw(best - short, factor * scale**exponent, float(exponent))

    return min((fitted(exponent) for exponent in _EXPONENTS), key=lambda pair: pair[0])[1]
