"""Sets of classes that hold the true one as often as was asked: class-conditional conformal.

The score of an image is the probability of its true class (LAC). A class is in the set of an image
where its probability is no lower than the class's threshold, a quantile of the scores of those
images of the class that the models had not seen.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from folds.arrays import AnyFloats, Bools, Doubles, Ints

_ROUNDING = 1e-9  # of a share, which is a sum of shares


@dataclass(frozen=True)
class SetThresholds:
    """From which probability on each class is in an image's prediction set.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (C,)
        0 puts a class in every set: no threshold keeps what was asked for.
    marginal : ndarray of bool, shape (C,)
        Classes of too few images for a threshold of their own, which have that of all images.
    """

    probabilities: Doubles
    marginal: Bools

    def sets(self, probabilities: AnyFloats) -> Bools:
        """Which classes are in the sets (N, C) of images with these probabilities (N, C)."""
        return probabilities >= self.probabilities


def set_thresholds(
    labels: Ints, probabilities: AnyFloats, groups: NDArray, coverage: float
) -> SetThresholds:
    """Choose each class's threshold by predictions for images that the models had not seen.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
    probabilities : ndarray of float, shape (N, C)
        As the model that will use the thresholds answers: tempered.
    groups : ndarray of str or int, shape (N,)
        Rows of one group are not independent; an image without a group is its own.
    coverage : float
        Share of the images of each class whose sets shall hold it, 0 to 1, exclusive.

    Notes
    -----
    - The set of a new image of class c, exchangeable with those given, holds c with probability
      `coverage` or more; with at most 1/(n_c + 1) more where no two scores are equal.
    - A group counts one, whatever its rows: the guarantee is for a new group. Without groups this
      is the usual quantile, number ceil((n_c + 1) coverage) of n_c, the highest score first.
    - Out-of-fold scores of several models are pooled (cross-conformal): valid as far as the model
      that is used answers unseen images as the folds' models do theirs.
    - Of all sets with such a guarantee these are the smallest on average, if the probabilities are
      right. Sets may be empty: no class is as probable as is usual for it.

    References
    ----------
    Sadinle, Lei, Wasserman: Least Ambiguous Set-Valued Classifiers with Bounded Error Levels, JASA
    2019; Vovk: Cross-conformal predictors, AMAI 2015; Lee, Barber, Willett: Distribution-free
    inference with hierarchical data, 2023, for groups.
    """
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    everyone = _threshold(own, groups, coverage)
    each = [
        _threshold(own[labels == label], groups[labels == label], coverage)
        for label in range(probabilities.shape[1])
    ]
    found = [everyone if one is None else one for one in each]
    return SetThresholds(
        np.array([0.0 if one is None else one for one in found]),
        np.array([one is None for one in each]),
    )


def out_of_fold_sets(
    labels: Ints,
    probabilities: AnyFloats,
    groups: NDArray,
    fold: Ints,
    coverage: float,
) -> Bools:
    """Prediction sets (N, C) of each fold's rows by thresholds that the other folds' rows give.

    Parameters
    ----------
    fold : ndarray of int64, shape (N,)
        Two or more, with repeats a number for each fold of each repeat. Rows of groups that are
        in a fold, in whichever repeat, do not choose its thresholds.
    """
    found = np.ones(probabilities.shape, np.bool_)
    for number in np.unique(fold):
        mine = fold == number
        others = ~np.isin(groups, groups[mine])
        chosen = set_thresholds(labels[others], probabilities[others], groups[others], coverage)
        found[mine] = chosen.sets(probabilities[mine])
    return found


def _threshold(scores: Doubles, groups: NDArray, coverage: float) -> float | None:
    """The highest score at or above which the rows weigh `coverage`; None: they are too few.

    With G groups each weighs 1/(G + 1), even over its rows; the rest is the new group's.
    """
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(-scores, kind="stable")
    weights = 1 / ((len(counts) + 1) * counts[group.reshape(-1)[order]])
    enough = np.flatnonzero(np.cumsum(weights) >= coverage - _ROUNDING)
    return float(scores[order[enough[0]]]) if len(enough) else None
