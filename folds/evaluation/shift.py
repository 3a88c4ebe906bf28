"""Scores of predictions for corrupted images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from folds.arrays import Ints
from folds.evaluation.metrics import macro_f1
from folds.evaluation.predictions import CorruptedPredictions


@dataclass(frozen=True)
class ShiftScores:
    """What a model, or pooled folds, make of corrupted images.

    Parameters
    ----------
    accuracy, macro_f1 : mapping of (str, int) to float
        By corruption and severity, in the order of the suite.

    Notes
    -----
    A mean gives each corruption the same weight, whatever its severities.
    """

    accuracy: Mapping[tuple[str, int], float]
    macro_f1: Mapping[tuple[str, int], float]

    @property
    def accuracies(self) -> dict[str, float]:
        """Mean accuracy of each corruption over its severities."""
        return _by_corruption(self.accuracy)

    @property
    def macro_f1s(self) -> dict[str, float]:
        """Mean macro-F1 of each corruption over its severities."""
        return _by_corruption(self.macro_f1)

    @property
    def mean_accuracy(self) -> float:
        """Mean corruption accuracy."""
        return float(np.mean(list(self.accuracies.values())))

    @property
    def mean_macro_f1(self) -> float:
        """Mean corruption macro-F1."""
        return float(np.mean(list(self.macro_f1s.values())))

    @property
    def worst(self) -> str:
        """The corruption of lowest macro-F1; of equals the first."""
        each = self.macro_f1s
        return min(each, key=each.__getitem__)

    def flat(self) -> dict[str, float]:
        """Metrics by name.

        Returns
        -------
        dict
            shift.accuracy and shift.macro_f1 (means), shift.worst (macro-F1 of the worst
            corruption), and shift.NAME (macro-F1) of each corruption.
        """
        return {
            "shift.accuracy": self.mean_accuracy,
            "shift.macro_f1": self.mean_macro_f1,
            "shift.worst": self.macro_f1s[self.worst],
            **{f"shift.{name}": value for name, value in self.macro_f1s.items()},
        }


def shift_scores(labels: Ints, predicted: Mapping[tuple[str, int], Ints]) -> ShiftScores:
    """Score predictions under corruptions.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
    predicted : mapping of (str, int) to ndarray of int64, shape (N,)
        Classes by corruption and severity; at least one. Rows as those of the labels, so that
        folds are pooled by joining their rows.
    """
    return ShiftScores(
        {case: float((values == labels).mean()) for case, values in predicted.items()},
        {case: macro_f1(labels, values) for case, values in predicted.items()},
    )


def score_corrupted(labels: Ints, corrupted: CorruptedPredictions) -> ShiftScores | None:
    """Score predictions for corrupted images, if there are any.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
        Of all images, those that were not corrupted among them.
    """
    if not corrupted.predicted.size:
        return None
    by_case = dict(zip(corrupted.cases, corrupted.predicted, strict=True))
    return shift_scores(labels[corrupted.rows], by_case)


def corrupted_scores(labels: Ints, corrupted: CorruptedPredictions) -> dict[str, float]:
    """`score_corrupted` by the names of ``--select-by``; empty where nothing was corrupted."""
    scored = score_corrupted(labels, corrupted)
    return {} if scored is None else scored.flat()


def _by_corruption(values: Mapping[tuple[str, int], float]) -> dict[str, float]:
    names = dict.fromkeys(name for name, _ in values)
    return {
        name: float(np.mean([value for (own, _), value in values.items() if own == name]))
        for name in names
    }
