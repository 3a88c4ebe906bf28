"""Scores by site, and by the values of other columns: a mean hides who is served worst."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from folds.arrays import Ints
from folds.config.selection import SelectBy, worst_names
from folds.errors import UserError, listed
from folds.evaluation.intervals import Interval, intervals
from folds.evaluation.metrics import macro_f1
from folds.evaluation.predictions import Predictions

FEWEST = 20
"""Images below which a value is no slice's worst.

One image in twenty is 5 points of accuracy, and where 18 of 20 are right the 95% interval goes from
0.70 to 0.97: fewer say nothing, and the lowest of several such would be whose luck was worst.
"""

MOST = 50
"""Values of a column of ``--slices``: of more no table can be read."""

Texts = NDArray[np.str_]


@dataclass(frozen=True)
class Slice:
    """Scores of the images that have one value of a column.

    Parameters
    ----------
    value : str
    images : int
        Whatever the repeats.
    accuracy, macro_f1 : Interval
        95%; macro-F1 is the mean over the classes that these images have.
    """

    value: str
    images: int
    accuracy: Interval
    macro_f1: Interval

    @property
    def enough(self) -> bool:
        """Whether there are enough images to be the worst."""
        return self.images >= FEWEST


def check_columns(
    columns: Mapping[str, Texts], select: SelectBy, slices: Sequence[str]
) -> list[str]:
    """Refuse columns that scores cannot be told by, before anything is trained.

    Parameters
    ----------
    columns : mapping of str to ndarray of str, shape (N,)
        Of all images.
    select : SelectBy
        What models are chosen by.
    slices : sequence of str
        Those of ``--slices``.

    Returns
    -------
    list of str
        Notices of values that are not known.

    Raises
    ------
    UserError
        Models are to be chosen by sites and none are known, or by a column of which no value has
        enough images; or a slice has too many values.
    """
    if "site" in select.columns - columns.keys():
        raise UserError(
            f"--select-by {select}: no sites are known; give --data a column site (an array "
            "sites), several --data NAME=SOURCE, or --site-regex"
        )
    notices = []
    for name, values in columns.items():
        known, counts = np.unique(values[values != ""], return_counts=True)
        if name in slices and len(known) > MOST:
            raise UserError(
                f"--slices {name}: {len(known)} values ({listed(known)}), at most {MOST}; put them "
                "into fewer, such as ages into decades"
            )
        if name in select.columns and counts.max(initial=0) < FEWEST:
            raise UserError(
                f"--select-by {select}: no value of {name} has {FEWEST} images, so there is no "
                "worst; add images, or choose by another score"
            )
        if empty := int((values == "").sum()):
            notices.append(
                f"--slices {name}: {empty} of {len(values)} images have no value; they count in "
                "none of its slices"
            )
    return notices


def slices_of(predictions: Predictions, ids: Texts, values: Texts) -> list[Slice]:
    """Scores of each value of a column.

    Parameters
    ----------
    predictions : Predictions
        M rows, whose groups are resampled for the intervals.
    ids, values : ndarray of str, shape (M,)
        Images of the rows, and their values; rows of an empty one are left out.

    Returns
    -------
    list of Slice
        In the order of the values.
    """
    found = []
    for value in np.unique(values[values != ""]).tolist():
        rows = np.flatnonzero(values == value)
        around = intervals(predictions.take(rows)).pooled
        images = len(np.unique(ids[rows]))
        found.append(Slice(value, images, around["accuracy"], around["macro_f1"]))
    return found


def worst_of(slices: Sequence[Slice]) -> Slice | None:
    """The slice of lowest macro-F1 among those of enough images; None: there is none."""
    return min((one for one in slices if one.enough), key=_macro_f1, default=None)


def _macro_f1(one: Slice) -> float:
    return one.macro_f1.value


def pooled_worst(columns: Mapping[str, Sequence[Slice]]) -> dict[str, float]:
    """The lowest scores of each column, by the names of ``--select-by``; NaN without a slice."""
    found: dict[str, float] = {}
    for name, slices in columns.items():
        own = [one for one in slices if one.enough]
        accuracy = min((one.accuracy.value for one in own), default=math.nan)
        found |= worst_names(name, accuracy, min(map(_macro_f1, own), default=math.nan))
    return found


def worst_scores(
    columns: Mapping[str, Texts], labels: Ints, predicted: Ints, share: float = 1.0
) -> dict[str, float]:
    """The lowest scores of each column among some images, by the names of ``--select-by``.

    Parameters
    ----------
    columns : mapping of str to ndarray of str, shape (N,)
    labels, predicted : ndarray of int64, shape (N,)
        Classes.
    share : float
        Of all images that these are: a value counts with `FEWEST` times it.

    Returns
    -------
    dict
        NaN where no value has enough images.
    """
    fewest, found = math.ceil(FEWEST * share), dict[str, float]()
    for name, values in columns.items():
        each = [values == value for value in np.unique(values[values != ""])]
        own = [rows for rows in each if rows.sum() >= fewest]
        right = [float((labels[rows] == predicted[rows]).mean()) for rows in own]
        f1 = [macro_f1(labels[rows], predicted[rows]) for rows in own]
        found |= worst_names(name, min(right, default=math.nan), min(f1, default=math.nan))
    return found
