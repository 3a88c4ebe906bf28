"""Scores of each class."""

from dataclasses import dataclass

import numpy as np

from folds.arrays import AnyFloats, Doubles, Ints
from folds.evaluation.predictions import Predictions
from folds.evaluation.replicates import tally


@dataclass(frozen=True)
class ClassScores:
    """Scores of each of C classes; NaN where one is not defined.

    Parameters
    ----------
    precision, recall, f1 : ndarray of float64, shape (C,)
    roc_auc : ndarray of float64, shape (C,)
        The class against the rest.
    support : ndarray of int64, shape (C,)
        Images of the class.
    """

    precision: Doubles
    recall: Doubles
    f1: Doubles
    roc_auc: Doubles
    support: Ints


def class_scores(labels: Ints, probabilities: AnyFloats) -> ClassScores:
    """Score each class.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
    probabilities : ndarray of float, shape (N, C)
    """
    alone = Predictions(labels, probabilities, np.zeros(len(labels), dtype=np.int64))
    found = {name: values[:, 0] for name, values in tally(alone).once().per_class.items()}
    support = np.bincount(labels, minlength=probabilities.shape[1])
    return ClassScores(**found, support=support)
