"""All scores of many bootstrap replicates at once.

A replicate is a number of times that each cluster of rows was drawn. Everything but the ROC AUC
follows from sums over clusters, so one sparse product gives them for all replicates; the AUC of a
class needs one more product, whose rows are the negatives between two neighbouring positives.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from folds.arrays import AnyFloats, Doubles, Ints
from folds.config.scores import SCORES
from folds.evaluation.calibration import BINS, bins_of, brier_of_each
from folds.evaluation.predictions import Predictions

_CELLS = 4_000_000  # counts held at a time
PER_CLASS = ("precision", "recall", "f1", "roc_auc")


@dataclass(frozen=True)
class Replicates:
    """Scores of B replicates.

    Parameters
    ----------
    pooled : dict of str to ndarray of float64, shape (B,)
        By the names in `folds.config.scores.SCORES`.
    per_class : dict of str to ndarray of float64, shape (C, B)
        By the names in `PER_CLASS`; NaN where a class was not drawn.
    """

    pooled: dict[str, Doubles]
    per_class: dict[str, Doubles]


@dataclass(frozen=True)
class _Ranks:
    """A class's images among the others.

    Parameters
    ----------
    positives : csr_array, shape (P, G)
        Images of the class, by distinct probability, ascending, and cluster.
    others : csr_array, shape (2 P + 1, G)
        The other images, by their place between (even) or equal to (odd) the positives'.
    """

    positives: csr_array
    others: csr_array

    def auc(self, counts: Doubles) -> Doubles:
        positives, others = self.positives @ counts, self.others @ counts
        ties = others[1::2] / 2
        total = others.sum(axis=0)
        np.cumsum(others, axis=0, out=others)
        won = (positives * (others[:-1:2] + ties)).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return won / (positives.sum(axis=0) * total)


@dataclass(frozen=True)
class Tally:
    """What the scores of predictions follow from, by cluster.

    Parameters
    ----------
    classes, clusters : int
    sums : csr_array, shape (3 C + 2 + BINS, G)
        Images of each class, images predicted as it, images that are both; Brier score, log
        loss; hits less confidence of each bin.
    ranks : sequence of _Ranks
        Of each class.
    """

    classes: int
    clusters: int
    sums: csr_array
    ranks: Sequence[_Ranks]

    def scores(self, counts: Doubles) -> Replicates:
        """Scores of replicates.

        Parameters
        ----------
        counts : ndarray of float64, shape (G, B)
            How often each cluster was drawn.
        """
        c = self.classes
        sums = self.sums @ counts
        images, predicted, hits = sums[:c], sums[c : 2 * c], sums[2 * c : 3 * c]
        total = images.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            per_class = {
                "precision": hits / predicted,
                "recall": hits / images,
                "f1": np.where(images > 0, 2 * hits / (images + predicted), np.nan),
                "roc_auc": np.stack([one.auc(counts) for one in self.ranks]),
            }
        pooled = {
            "accuracy": hits.sum(axis=0) / total,
            "balanced_accuracy": mean_there(per_class["recall"]),
            "macro_f1": mean_there(per_class["f1"]),
            "roc_auc": mean_there(per_class["roc_auc"]),
            "log_loss": sums[3 * c + 1] / total,
            "brier": sums[3 * c] / total,
            "ece": np.abs(sums[3 * c + 2 :]).sum(axis=0) / total,
        }
        return Replicates(pooled, per_class)

    def once(self) -> Replicates:
        """The scores of the predictions as they are, as one replicate."""
        return self.scores(np.ones((self.clusters, 1)))

    @property
    def clusters_of_classes(self) -> list[int]:
        """Clusters in which each class occurs."""
        found: list[int] = np.diff(self.sums.indptr)[: self.classes].tolist()
        return found


def tally(predictions: Predictions) -> Tally:
    """Sum up predictions by cluster."""
    labels, probabilities = predictions.labels, predictions.probabilities.astype(np.float64)
    codes = predictions.clusters
    size, classes = int(codes.max()) + 1, probabilities.shape[1]
    return Tally(
        classes,
        size,
        _sums(labels, probabilities, codes, size),
        [_ranks(labels == c, probabilities[:, c], codes, size) for c in range(classes)],
    )


def drawn(clusters: int, replicates: int, seed: int) -> Iterator[Doubles]:
    """Draw clusters with replacement, as many as there are, in parts that fit into memory.

    Yields
    ------
    ndarray of float64, shape (G, b)
        How often each of G clusters was drawn; the b of all parts sum up to `replicates`.

    Notes
    -----
    A replicate depends on the seed and its number only, not on the parts.
    """
    generator = np.random.default_rng(seed)
    part = max(1, min(replicates, _CELLS // clusters))
    for start in range(0, replicates, part):
        counts = [
            np.bincount(generator.integers(0, clusters, clusters), minlength=clusters)
            for _ in range(min(part, replicates - start))
        ]
        yield np.ascontiguousarray(np.stack(counts, axis=1), dtype=np.float64)


def replicated(found: Tally, replicates: int, seed: int) -> Replicates:
    """Scores of bootstrap replicates; with the same seed and clusters, of the same draws."""
    parts = [found.scores(counts) for counts in drawn(found.clusters, replicates, seed)]
    return Replicates(
        {n: np.concatenate([one.pooled[n] for one in parts]) for n in SCORES},
        {n: np.concatenate([one.per_class[n] for one in parts], axis=1) for n in PER_CLASS},
    )


def mean_there(values: Doubles) -> Doubles:
    """Mean (B,) over the classes (C, B) that are not NaN; NaN where none is."""
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(there, values, 0).sum(axis=0) / there.sum(axis=0)


def _sums(labels: Ints, probabilities: Doubles, codes: Ints, size: int) -> csr_array:
    classes, rows = probabilities.shape[1], np.arange(len(labels))
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    hit = predicted == labels
    tiny = np.finfo(np.float64).eps  # as scikit-learn's log_loss cuts off
    chosen = np.clip(probabilities[rows, labels] / probabilities.sum(axis=1), tiny, 1 - tiny)
    ones = np.ones(len(labels))
    entries = [
        (labels, ones),
        (classes + predicted, ones),
        (2 * classes + labels, hit),
        (np.full(len(labels), 3 * classes), brier_of_each(labels, probabilities)),
        (np.full(len(labels), 3 * classes + 1), -np.log(chosen)),
        (3 * classes + 2 + bins_of(confidence, BINS), hit - confidence),
    ]
    where, values = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    places = (where, np.tile(codes, len(entries)))
    return csr_array((values.astype(np.float64), places), shape=(3 * classes + 2 + BINS, size))


def _ranks(positive: NDArray[np.bool_], value: AnyFloats, codes: Ints, size: int) -> _Ranks:
    distinct, place = np.unique(value[positive], return_inverse=True)
    others = value[~positive]
    between = np.searchsorted(distinct, others) + np.searchsorted(distinct, others, side="right")
    ones = np.ones(len(value))
    return _Ranks(
        csr_array((ones[positive], (place, codes[positive])), shape=(len(distinct), size)),
        csr_array(
            (ones[~positive], (between, codes[~positive])), shape=(2 * len(distinct) + 1, size)
        ),
    )
