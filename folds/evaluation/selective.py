"""Answering only where the model is sure: how often it is right then, by how many are answered."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from folds.arrays import AnyFloats, Bools, Doubles

CONFIDENCE = 0.95
_POINTS = 20


@dataclass(frozen=True)
class Point:
    """What holds if images of at least this confidence are answered, and no others.

    Parameters
    ----------
    threshold : float
        Probability of the answer.
    answered : float
        Share of the images.
    accuracy : float
        Share of those answered that are right.
    low : float
        A lower bound of the accuracy, see `risk_coverage`.
    """

    threshold: float
    answered: float
    accuracy: float
    low: float


def risk_coverage(right: Bools, confidence: AnyFloats, groups: NDArray) -> tuple[Point, ...]:
    """Accuracy among the surest answers, by their share.

    Parameters
    ----------
    right : ndarray of bool, shape (N,)
        Whether the answer is the true class, for images that the model had not seen.
    confidence : ndarray of float, shape (N,)
        Probability of the answer.
    groups : ndarray of str or int, shape (N,)
        Rows of one group are not independent; an image without a group is its own.

    Returns
    -------
    tuple of Point
        At up to 20 shares, from the surest images to all; thresholds fall.

    Notes
    -----
    - The bounds hold all at once with 95% confidence (Bonferroni), so an accuracy may be asked for
      after looking at them, and any number of them.
    - They are Clopper and Pearson's, for as many independent images as the design effect leaves:
      the variance of the share of mistakes between groups, over that of independent images.

    References
    ----------
    Geifman, El-Yaniv: Selective Classification for Deep Neural Networks, NeurIPS 2017; Angelopoulos
    et al.: Learn then Test, 2021; Korn, Graubard: Confidence intervals for proportions with small
    expected number of positive counts, Survey Methodology 1998, for groups.
    """
    ranked = np.sort(confidence)[::-1]
    shares = np.arange(1, _POINTS + 1) / _POINTS
    places = np.maximum(np.ceil(shares * len(ranked)).astype(np.int64), 1) - 1
    thresholds = np.unique(ranked[places])[::-1]
    effect, error = _design_effect(right, groups), (1 - CONFIDENCE) / len(thresholds)
    points = []
    for threshold in thresholds:
        answered = right[confidence >= threshold]
        share = float(answered.mean())
        low = _lower(share, len(answered) / effect, error)
        points.append(Point(float(threshold), len(answered) / len(right), share, low))
    return tuple(points)


def sure_enough(points: tuple[Point, ...], accuracy: float) -> Point | None:
    """The point of most answers whose accuracy is at least this by its bound, if there is one."""
    passing = [point for point in points if point.low >= accuracy]
    return max(passing, key=lambda point: point.answered, default=None)


def area_under_risk_coverage(right: Bools, confidence: AnyFloats) -> float:
    """Share of mistakes among the n surest, mean over all n (AURC), 0 to 1; lower is better.

    Notes
    -----
    Mistakes among images of equal confidence count as spread evenly over them.

    References
    ----------
    Geifman, Uziel, El-Yaniv: Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers, ICLR
    2019.
    """
    _, tie, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    wrong = (np.bincount(tie, ~right) / counts)[np.sort(tie)]
    return float((np.cumsum(wrong) / np.arange(1, len(right) + 1)).mean())


def _lower(share: float, count: float, error: float) -> float:
    """Clopper and Pearson's one-sided lower bound of a share of so many independent images."""
    hits = share * count
    return float(beta.ppf(error, hits, count - hits + 1)) if hits > 0 else 0.0


def _design_effect(right: Bools, groups: NDArray) -> float:
    """How many rows tell as much as one independent image does, 1 or more.

    Where no row is wrong, or none right, nothing tells how alike a group's rows are: its rows
    then count as one.
    """
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    rows, own, share = len(right), len(counts), float(right.mean())
    if share in (0.0, 1.0) or own == 1:
        return rows / own
    sums = np.bincount(group.reshape(-1), right - share)
    between: Doubles = own / (own - 1) * (sums**2).sum()
    return max(float(between / (rows * share * (1 - share)) * (rows - 1) / rows), 1.0)
