"""Predictions to be judged, as arrays."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from folds.arrays import AnyFloats, Doubles, Floats, Ints
from folds.config.corruptions import Case

COLUMN = "column."  # before the names of sites and slices in a file of predictions


@dataclass(frozen=True)
class Predictions:
    """Predictions of M rows; an image has one row for each repeat.

    Parameters
    ----------
    labels : ndarray of int64, shape (M,)
    probabilities : ndarray of float, shape (M, C)
        Rows sum to 1.
    groups : ndarray of str or int, shape (M,)
        Rows of one group are not independent; an image without a group is its own, so its
        repeats are one.
    fold, repeat : ndarray of int64, shape (M,), optional
        Absent for images that no fold trained on.
    k : int, optional
        Folds of each repeat, those that were not trained included; default: as many as there are.
    """

    labels: Ints
    probabilities: AnyFloats
    groups: NDArray
    fold: Ints | None = None
    repeat: Ints | None = None
    k: int | None = None

    @property
    def clusters(self) -> Ints:
        """The groups as numbers from 0, shape (M,)."""
        return clusters(self.groups)

    @property
    def folds(self) -> Ints:
        """Fold and repeat as one number from 0, shape (M,).

        Raises
        ------
        ValueError
            These predictions have no folds.
        """
        return clusters(np.stack(self._of_folds(), axis=1))

    @property
    def test_share(self) -> float:
        """Share of the images that is in the test part of a fold, on average.

        Raises
        ------
        ValueError
            These predictions have no folds.
        """
        repeats = int(clusters(self._of_folds()[0]).max()) + 1
        trained = (int(self.folds.max()) + 1) / repeats
        return 1 / max(self.k or 0, trained)

    def take(self, rows: NDArray) -> "Predictions":
        """Some of the rows."""
        return Predictions(
            self.labels[rows],
            self.probabilities[rows],
            self.groups[rows],
            None if self.fold is None else self.fold[rows],
            None if self.repeat is None else self.repeat[rows],
            self.k,
        )

    def _of_folds(self) -> tuple[Ints, Ints]:
        if self.fold is None or self.repeat is None:
            raise ValueError("these predictions have no folds")
        return self.repeat, self.fold


@dataclass(frozen=True)
class UnseenPredictions:
    """Predictions of every fold's model for images that none of them has trained on.

    Parameters
    ----------
    ids, groups : ndarray of str, shape (H,)
    labels : ndarray of int64, shape (H,)
    probabilities : ndarray of float32, shape (F, H, C)
        Of each of F models.
    """

    ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    labels: Ints
    probabilities: Floats


@dataclass(frozen=True)
class ShiftPredictions:
    """Predicted classes of S rows under each of K corruptions.

    Parameters
    ----------
    labels : ndarray of int64, shape (S,)
    predicted : ndarray of int64, shape (K, S)
    corruptions : ndarray of str, shape (K,)
        Names; a name occurs once for each severity.
    groups : ndarray of str or int, shape (S,)
    classes : int
    fold : ndarray of int64, shape (S,), optional
        A number for each fold of each repeat.
    """

    labels: Ints
    predicted: Ints
    corruptions: NDArray[np.str_]
    groups: NDArray
    classes: int
    fold: Ints | None = None

    @property
    def clusters(self) -> Ints:
        """The groups as numbers from 0, shape (S,)."""
        return clusters(self.groups)

    def take(self, rows: NDArray) -> "ShiftPredictions":
        """Some of the rows."""
        return ShiftPredictions(
            self.labels[rows],
            self.predicted[:, rows],
            self.corruptions,
            self.groups[rows],
            self.classes,
            None if self.fold is None else self.fold[rows],
        )


@dataclass(frozen=True)
class CorruptedPredictions:
    """What a model, or the models of several folds, make of corrupted validation images.

    Parameters
    ----------
    rows : ndarray of int64, shape (S,)
        Numbers of the images, some or all of the validation part.
    cases : tuple of (str, int)
        K corruptions and severities.
    predicted : ndarray of int64, shape (K, S)
        Classes.
    probabilities : ndarray of float16, shape (K, S, C) or (0, 0, 0)
        Of all classes; none where they would be too many to be kept.
    """

    rows: Ints
    cases: tuple[Case, ...]
    predicted: Ints
    probabilities: NDArray[np.float16] = field(
        kw_only=True, default_factory=lambda: np.zeros((0, 0, 0), np.float16)
    )


@dataclass(frozen=True)
class ImageSums:
    """The probabilities of M rows added up over the rows (the repeats) of each of N images.

    Sums, not means: the most probable class of an image needs no division, and whose rows do not
    quite sum to 1 may be divided by their sum.

    Parameters
    ----------
    ids : ndarray of str, shape (N,)
        Sorted, each once.
    first, counts : ndarray of int64, shape (N,)
        Each image's first row, and the number of its rows.
    image : ndarray of int64, shape (M,)
        Which of the N images each row is of.
    sums : ndarray of float64, shape (N, C)
    """

    ids: NDArray[np.str_]
    first: Ints
    counts: Ints
    image: Ints
    sums: Doubles


def sum_by_image(ids: NDArray[np.str_], probabilities: AnyFloats) -> ImageSums:
    """Add up the probabilities of each image, in the order of the rows.

    Parameters
    ----------
    ids : ndarray of str, shape (M,)
        Equal ids are one image.
    probabilities : ndarray of float, shape (M, C)
    """
    names, first, image, counts = np.unique(
        ids, return_index=True, return_inverse=True, return_counts=True
    )
    sums = np.zeros((len(names), probabilities.shape[1]))
    np.add.at(sums, image, probabilities)
    return ImageSums(names, first, counts, image, sums)


def clusters(values: NDArray) -> Ints:
    """Distinct values (of the first axis) as numbers from 0, in their order."""
    codes: Ints = np.unique(values, axis=0, return_inverse=True)[1].reshape(-1)
    return codes
