"""All scores of many bootstrap replicates at once.

The bootstrap draws clusters (the groups of rows that are not independent) with replacement, as
many as there are, so a replicate is a count for each cluster. All scores but the ROC AUC follow
from sums over the rows, which are kept by cluster: one sparse product, sums by cluster times counts
by replicate, gives them for all replicates. The AUC is the Mann-Whitney statistic, the share of
pairs of a positive and a negative row in which the positive has the greater probability; its
product counts the negatives between two neighbouring positives.

References
----------
Field, Welsh: Bootstrapping clustered data, J. R. Stat. Soc. B 69, 2007, for drawing clusters.
Hanley, McNeil: The meaning and use of the area under a ROC curve, Radiology 143, 1982.
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

_MOST_COUNTS = 4_000_000  # held at a time, 32 MB of float64
PER_CLASS = ("precision", "recall", "f1", "roc_auc")


@dataclass(frozen=True)
class Replicates:
    """Scores of B replicates.

    Parameters
    ----------
    pooled : dict of str to ndarray of float64, shape (B,)
        By the names in `folds.config.scores.SCORES`; NaN where nothing was drawn.
    per_class : dict of str to ndarray of float64, shape (C, B)
        By the names in `PER_CLASS`; NaN where a class was not drawn.
    """

    pooled: dict[str, Doubles]
    per_class: dict[str, Doubles]


@dataclass(frozen=True)
class _Ranks:
    """Where the probabilities of a class's own rows lie among those of the other rows.

    Parameters
    ----------
    positives : csr_array, shape (P, G)
        Rows of the class, by distinct probability, ascending, and cluster.
    negatives : csr_array, shape (2 P + 1, G)
        The other rows, by their place between (even) or equal to (odd) the positives'.
    """

    positives: csr_array
    negatives: csr_array

    def auc(self, counts: Doubles) -> Doubles:
        """ROC AUC (B,) of replicates by the counts (G, B) of clusters."""
        positives, negatives = self.positives @ counts, self.negatives @ counts
        ties = negatives[1::2] / 2
        total = negatives.sum(axis=0)
        np.cumsum(negatives, axis=0, out=negatives)
        won = (positives * (negatives[:-1:2] + ties)).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return won / (positives.sum(axis=0) * total)


@dataclass(frozen=True)
class Tally:
    """The sums by cluster that all scores follow from (their sufficient statistics).

    Parameters
    ----------
    classes, clusters : int
        C and G.
    sums : csr_array, shape (3 C + 2 + BINS, G)
        Rows of each class, rows predicted as it, rows that are both; Brier score, log loss; hits
        less confidence of each bin of the calibration error.
    ranks : sequence of _Ranks
        Of each class, for its ROC AUC.
    """

    classes: int
    clusters: int
    sums: csr_array
    ranks: Sequence[_Ranks]

    def scores(self, counts: Doubles, *, ranked: bool = True) -> Replicates:
        """Scores of replicates.

        Parameters
        ----------
        counts : ndarray of float64, shape (G, B)
            How often each cluster was drawn.
        ranked : bool
            Whether the ROC AUC is among them, which takes longer than all others together.
        """
        c = self.classes
        sums = self.sums @ counts
        images, predicted, hits = sums[:c], sums[c : 2 * c], sums[2 * c : 3 * c]
        total = images.sum(axis=0)
        auc = {"roc_auc": np.stack([of.auc(counts) for of in self.ranks])} if ranked else {}
        with np.errstate(invalid="ignore", divide="ignore"):
            per_class = {
                "precision": hits / predicted,
                "recall": hits / images,
                "f1": np.where(images > 0, 2 * hits / (images + predicted), np.nan),
                **auc,
            }
            pooled = {
                "accuracy": hits.sum(axis=0) / total,
                "balanced_accuracy": mean_of_defined(per_class["recall"]),
                "macro_f1": mean_of_defined(per_class["f1"]),
                **{name: mean_of_defined(each) for name, each in auc.items()},
                "log_loss": sums[3 * c + 1] / total,
                "brier": sums[3 * c] / total,
                "ece": np.abs(sums[3 * c + 2 :]).sum(axis=0) / total,
            }
        return Replicates(pooled, per_class)

    def observed(self) -> Replicates:
        """The scores of the predictions themselves, as one replicate (B = 1)."""
        return self.scores(np.ones((self.clusters, 1)))

    def bootstrap(self, replicates: int, seed: int) -> Replicates:
        """Scores of bootstrap replicates; the same seed and number of clusters, the same draws."""
        parts = [
            self.scores(counts) for counts in bootstrap_counts(self.clusters, replicates, seed)
        ]
        return Replicates(
            {n: np.concatenate([part.pooled[n] for part in parts]) for n in SCORES},
            {n: np.concatenate([part.per_class[n] for part in parts], axis=1) for n in PER_CLASS},
        )

    @property
    def clusters_per_class(self) -> list[int]:
        """In how many clusters each class occurs."""
        counts: list[int] = np.diff(self.sums.indptr)[: self.classes].tolist()
        return counts


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


def bootstrap_counts(
    clusters: int, replicates: int, seed: int, *, at_a_time: int | None = None
) -> Iterator[Doubles]:
    """Draw clusters with replacement, as many as there are, in parts that fit into memory.

    Parameters
    ----------
    at_a_time : int, optional
        Replicates of a part; default: as many as fit, see `fitting`.

    Yields
    ------
    ndarray of float64, shape (G, b)
        How often each of G clusters was drawn; the b of all parts sum up to `replicates`.

    Notes
    -----
    A replicate depends on the seed and its number only, not on the parts. Two sets of predictions
    for the same rows therefore get the same draws by the same seed, which pairs them.
    """
    generator = np.random.default_rng(seed)
    part = at_a_time or fitting(clusters)
    for start in range(0, replicates, part):
        counts = [
            np.bincount(generator.integers(0, clusters, clusters), minlength=clusters)
            for _ in range(min(part, replicates - start))
        ]
        yield np.ascontiguousarray(np.stack(counts, axis=1), dtype=np.float64)


def fitting(clusters: int) -> int:
    """How many replicates' counts of clusters fit into memory at a time, 1 or more."""
    return max(1, _MOST_COUNTS // clusters)


def mean_of_defined(values: Doubles) -> Doubles:
    """Mean (B,) over the classes (C, B) that are not NaN; NaN, without a warning, where all are."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0).sum(axis=0) / defined.sum(axis=0)


def _sums(labels: Ints, probabilities: Doubles, codes: Ints, size: int) -> csr_array:
    classes, rows = probabilities.shape[1], np.arange(len(labels))
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    hit = predicted == labels
    tiny = np.finfo(np.float64).eps  # as scikit-learn's log_loss cuts off
    of_truth = np.clip(probabilities[rows, labels] / probabilities.sum(axis=1), tiny, 1 - tiny)
    ones = np.ones(len(labels))
    entries = [
        (labels, ones),
        (classes + predicted, ones),
        (2 * classes + labels, hit),
        (np.full(len(labels), 3 * classes), brier_of_each(labels, probabilities)),
        (np.full(len(labels), 3 * classes + 1), -np.log(of_truth)),
        (3 * classes + 2 + bins_of(confidence, BINS), hit - confidence),
    ]
    statistic, values = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    places = (statistic, np.tile(codes, len(entries)))
    # entries with the same place are added up
    return csr_array((values.astype(np.float64), places), shape=(3 * classes + 2 + BINS, size))


def _ranks(positive: NDArray[np.bool_], value: AnyFloats, codes: Ints, size: int) -> _Ranks:
    distinct, rank = np.unique(value[positive], return_inverse=True)
    negatives = value[~positive]
    # as many positives lie below as left says, as many below or equal as right says: the sum of
    # both is even between two positives and odd where it equals one
    place = np.searchsorted(distinct, negatives)
    place = place + np.searchsorted(distinct, negatives, side="right")
    ones = np.ones(len(value))
    return _Ranks(
        csr_array((ones[positive], (rank, codes[positive])), shape=(len(distinct), size)),
        csr_array(
            (ones[~positive], (place, codes[~positive])), shape=(2 * len(distinct) + 1, size)
        ),
    )
