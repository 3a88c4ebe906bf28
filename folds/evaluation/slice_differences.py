"""What two sets of predictions for the same images differ by in the values of a column."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from folds.arrays import Doubles, Ints
from folds.evaluation.intervals import REPLICATES
from folds.evaluation.paired import (
    Difference,
    bootstrap_difference,
    check_same_rows,
    difference,
)
from folds.evaluation.predictions import Predictions
from folds.evaluation.replicates import Tally, bootstrap_counts, tally
from folds.evaluation.slices import FEWEST, worst_scores

Texts = NDArray[np.str_]


@dataclass(frozen=True)
class WorstDifference:
    """The lowest score over the values of a column, before and after, and by how much it rises."""

    before: float
    after: float
    difference: Difference


@dataclass(frozen=True)
class SliceChange:
    """Accuracy of the images of one value of a column, before and after."""

    column: str
    value: str
    before: float
    after: float

    @property
    def change(self) -> float:
        """How much it rises."""
        return self.after - self.before


@dataclass(frozen=True)
class SliceDifference:
    """Accuracy of the images of one value of a column, b less a, with its interval."""

    change: SliceChange
    images: int
    difference: Difference


def judged(predictions: Predictions, values: Texts) -> dict[str, Ints]:
    """Rows of each value of a column (M,) that enough images have, whatever the repeats."""
    repeats = _repeats(predictions)
    known, counts = np.unique(values[values != ""], return_counts=True)
    enough = known[counts >= FEWEST * repeats]
    return {value: np.flatnonzero(values == value) for value in enough.tolist()}


def slice_changes(
    a: Predictions, b: Predictions, columns: Mapping[str, Texts]
) -> list[SliceChange]:
    """How the accuracy of each value of enough images changes from a to b, rows being the same."""
    right = [p.probabilities.argmax(axis=1) == p.labels for p in (a, b)]
    return [
        SliceChange(name, value, *(float(own[rows].mean()) for own in right))
        for name, values in columns.items()
        for value, rows in judged(a, values).items()
    ]


def slice_differences(
    a: Predictions, b: Predictions, columns: Mapping[str, Texts], *, confidence: float = 0.95
) -> list[SliceDifference]:
    """As `slice_changes`, with intervals by a bootstrap over the groups of each value.

    Raises
    ------
    ValueError
        The rows are not the same.
    """
    repeats, rows_of = _repeats(a), {name: judged(a, own) for name, own in columns.items()}
    found = []
    for change in slice_changes(a, b, columns):
        rows = rows_of[change.column][change.value]
        around = bootstrap_difference(a.take(rows), b.take(rows), confidence=confidence)
        found.append(SliceDifference(change, len(rows) // repeats, around.pooled["accuracy"]))
    return found


def worst_difference(
    a: Predictions,
    b: Predictions,
    values: Texts,
    score: str,
    *,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> WorstDifference | None:
    """Difference of the lowest score over the values of a column, b less a.

    Parameters
    ----------
    a, b : Predictions
        M rows, the same in both.
    values : ndarray of str, shape (M,)
    score : str
        accuracy or macro_f1.

    Returns
    -------
    WorstDifference, optional
        None where no value has enough images.

    Raises
    ------
    ValueError
        The rows are not the same.

    Notes
    -----
    Each replicate has the worst value of its own, in each of the two. Student's t has the degrees
    of freedom of the value with the fewest groups.
    """
    check_same_rows(a, b)
    rows, codes = list(judged(a, values).values()), a.clusters
    if not rows:
        return None
    clusters = [np.unique(codes[own]) for own in rows]
    pairs = [[tally(p.take(own)) for own in rows] for p in (a, b)]
    observed = [_lowest(own, [np.ones((len(c), 1)) for c in clusters], score) for own in pairs]
    draws = []
    for counts in bootstrap_counts(int(codes.max()) + 1, replicates, seed):
        drawn = [counts[own] for own in clusters]
        lowest = [_lowest(own, drawn, score) for own in pairs]
        draws.append(lowest[1] - lowest[0])
    before, after = (float(value[0]) for value in observed)
    fewest = min(map(len, clusters))
    return WorstDifference(
        before, after, difference(after - before, np.concatenate(draws), fewest, confidence)
    )


def _lowest(parts: list[Tally], drawn: list[Doubles], score: str) -> Doubles:
    """The lowest score (B,) of several tallies; one of which nothing was drawn does not count."""
    each = [
        part.scores(counts, ranked=False).pooled[score]
        for part, counts in zip(parts, drawn, strict=True)
    ]
    return np.fmin.reduce(each)


def worst_fold_differences(
    a: Predictions, b: Predictions, column: str, values: Texts, name: str
) -> list[float]:
    """`worst_difference` within each fold of each repeat that has a value of enough images.

    Parameters
    ----------
    name : str
        As ``--select-by`` has it.
    """
    check_same_rows(a, b)
    folds, found = a.folds, []
    for number in np.unique(folds):
        rows = np.flatnonzero(folds == number)
        share = len(rows) * _repeats(a) / len(folds)
        before, after = (
            worst_scores(
                {column: values[rows]}, p.labels[rows], p.probabilities[rows].argmax(axis=1), share
            )[name]
            for p in (a, b)
        )
        if not math.isnan(after - before):
            found.append(after - before)
    return found


def _repeats(predictions: Predictions) -> int:
    return 1 if predictions.repeat is None else len(np.unique(predictions.repeat))
