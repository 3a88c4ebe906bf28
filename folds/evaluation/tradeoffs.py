"""What the threshold of a class trades: ROC and precision-recall curves, one against the others."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from folds.arrays import AnyFloats, Doubles, Ints

_POINTS = 200  # of a curve: as many as can be seen


@dataclass(frozen=True)
class Tradeoff:
    """The curves of one class against all others.

    Parameters
    ----------
    false_positives, true_positives : ndarray of float64, shape (P,)
        Rates from 0 to 1, over falling thresholds.
    recall, precision : ndarray of float64, shape (Q,)
        Over rising thresholds.
    roc_auc, average_precision : float
        Of all thresholds, not of those that are kept.
    """

    false_positives: Doubles
    true_positives: Doubles
    recall: Doubles
    precision: Doubles
    roc_auc: float
    average_precision: float


def tradeoffs(labels: Ints, probabilities: AnyFloats) -> list[Tradeoff | None]:
    """Curves of each class; None for one without images, or without images of others.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
    probabilities : ndarray of float, shape (N, C)

    References
    ----------
    scikit-learn's ``roc_curve`` and ``precision_recall_curve``; Saito and Rehmsmeier, The
    precision-recall plot is more informative than the ROC plot, PLOS ONE 2015.
    """
    classes = range(probabilities.shape[1])
    return [_tradeoff(labels == label, probabilities[:, label]) for label in classes]


def _tradeoff(own: np.ndarray, scores: AnyFloats) -> Tradeoff | None:
    if own.all() or not own.any():
        return None
    false_positives, true_positives, _ = roc_curve(own, scores)
    precision, recall, _ = precision_recall_curve(own, scores)
    roc, pr = _kept(len(false_positives)), _kept(len(recall))
    return Tradeoff(
        false_positives[roc],
        true_positives[roc],
        recall[pr],
        precision[pr],
        float(roc_auc_score(own, scores)),
        float(average_precision_score(own, scores)),
    )


def _kept(count: int) -> Ints:
    """Places of so many points that are drawn, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, _POINTS)).round().astype(np.int64))
