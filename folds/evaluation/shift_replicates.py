"""Scores under corruptions of many bootstrap replicates at once, see `folds.evaluation.replicates`.

The values are those of `folds.evaluation.shift`, whose functions score one set of predictions.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from folds.arrays import Doubles, Ints
from folds.evaluation.predictions import ShiftPredictions
from folds.evaluation.replicates import bootstrap_counts, mean_of_defined


@dataclass(frozen=True)
class ShiftTally:
    """The sums by cluster that the scores under corruptions follow from.

    Parameters
    ----------
    corruptions : tuple of str
        Names of the K rows of predictions; a name is there once for each severity.
    classes, clusters : int
        C and G.
    images : csr_array, shape (C, G)
        Of each class.
    predicted, hits : csr_array, shape (K C, G)
        Predicted as each class under each corruption, and rightly so.
    """

    corruptions: tuple[str, ...]
    classes: int
    clusters: int
    images: csr_array
    predicted: csr_array
    hits: csr_array

    def scores(self, counts: Doubles) -> dict[str, Doubles]:
        """Scores of replicates.

        Parameters
        ----------
        counts : ndarray of float64, shape (G, B)
            How often each cluster was drawn.

        Returns
        -------
        dict of str to ndarray of float64, shape (B,)
            shift.macro_f1 and shift.accuracy, means in which each corruption counts the same;
            shift.worst and shift.NAME, the macro-F1 of the worst and of each corruption.
        """
        shape = (len(self.corruptions), self.classes, counts.shape[1])
        images = self.images @ counts
        predicted, hits = ((m @ counts).reshape(shape) for m in (self.predicted, self.hits))
        with np.errstate(invalid="ignore", divide="ignore"):
            f1 = np.where(images > 0, 2 * hits / (images + predicted), np.nan)
            accuracy = hits.sum(axis=1) / images.sum(axis=0)
        macro_f1 = [mean_of_defined(by_class) for by_class in f1]
        names = list(dict.fromkeys(self.corruptions))
        rows = {n: [k for k, own in enumerate(self.corruptions) if own == n] for n in names}
        each = {f"shift.{n}": np.mean([macro_f1[k] for k in rows[n]], axis=0) for n in names}
        return {
            "shift.macro_f1": np.mean(list(each.values()), axis=0),
            "shift.accuracy": np.mean([accuracy[rows[n]].mean(axis=0) for n in names], axis=0),
            "shift.worst": np.min(list(each.values()), axis=0),
            **each,
        }

    def observed(self) -> dict[str, float]:
        """The scores of the predictions themselves."""
        scores = self.scores(np.ones((self.clusters, 1)))
        return {name: float(value[0]) for name, value in scores.items()}

    def bootstrap(self, replicates: int, seed: int) -> dict[str, Doubles]:
        """Scores of bootstrap replicates; the same seed and number of clusters, the same draws."""
        parts = [
            self.scores(counts) for counts in bootstrap_counts(self.clusters, replicates, seed)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def shift_tally(predictions: ShiftPredictions) -> ShiftTally:
    """Sum up predictions by corruption and cluster."""
    labels, codes, classes = predictions.labels, predictions.clusters, predictions.classes
    size, cases = int(codes.max()) + 1, len(predictions.predicted)
    # a number for each pair of corruption and predicted class, flat
    predicted = (predictions.predicted + classes * np.arange(cases)[:, None]).ravel()
    hit = (predictions.predicted == labels).ravel()
    columns = np.tile(codes, cases)
    return ShiftTally(
        tuple(predictions.corruptions.tolist()),
        classes,
        size,
        _counts(labels, codes, (classes, size)),
        _counts(predicted, columns, (cases * classes, size)),
        _counts(predicted[hit], columns[hit], (cases * classes, size)),
    )


def _counts(rows: Ints, columns: Ints, shape: tuple[int, int]) -> csr_array:
    """How often each pair of row and column occurs."""
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
