"""Scores under corruptions of many bootstrap replicates at once."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from folds.arrays import Doubles, Ints
from folds.evaluation.predictions import ShiftPredictions
from folds.evaluation.replicates import drawn, mean_there


@dataclass(frozen=True)
class ShiftTally:
    """What the scores under corruptions follow from, by cluster.

    Parameters
    ----------
    corruptions : tuple of str
        Names of the K rows of predictions; a name is there once for each severity.
    classes, clusters : int
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
        macro = [mean_there(one) for one in f1]
        right = hits.sum(axis=1) / images.sum(axis=0)
        names = list(dict.fromkeys(self.corruptions))
        rows = {n: [k for k, own in enumerate(self.corruptions) if own == n] for n in names}
        each = {f"shift.{n}": np.mean([macro[k] for k in rows[n]], axis=0) for n in names}
        accuracy = np.mean([right[rows[n]].mean(axis=0) for n in names], axis=0)
        mean = np.mean(list(each.values()), axis=0)
        worst = np.min(list(each.values()), axis=0)
        return {"shift.macro_f1": mean, "shift.accuracy": accuracy, "shift.worst": worst, **each}

    def once(self) -> dict[str, float]:
        """The scores of the predictions as they are."""
        found = self.scores(np.ones((self.clusters, 1)))
        return {name: float(value[0]) for name, value in found.items()}

    def replicated(self, replicates: int, seed: int) -> dict[str, Doubles]:
        """`scores` of bootstrap replicates; with the same seed and clusters, of the same draws."""
        parts = [self.scores(counts) for counts in drawn(self.clusters, replicates, seed)]
        return {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}


def shift_tally(predictions: ShiftPredictions) -> ShiftTally:
    """Sum up predictions by corruption and cluster."""
    labels, codes, classes = predictions.labels, predictions.clusters, predictions.classes
    size, cases = int(codes.max()) + 1, len(predictions.predicted)
    where = predictions.predicted + classes * np.arange(cases)[:, None]
    hit = (predictions.predicted == labels).ravel()
    columns = np.tile(codes, cases)
    return ShiftTally(
        tuple(predictions.corruptions.tolist()),
        classes,
        size,
        _counts(labels, codes, (classes, size)),
        _counts(where.ravel(), columns, (cases * classes, size)),
        _counts(where.ravel()[hit], columns[hit], (cases * classes, size)),
    )


def _counts(rows: Ints, columns: Ints, shape: tuple[int, int]) -> csr_array:
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
