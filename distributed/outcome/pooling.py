"""The folds' predictions put together: what can be said of all of them at once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from folds.arrays import Floats, Ints
from folds.config.corruptions import suite
from folds.evaluation.metrics import HoldOut, OutOfFold
from folds.prepare import Prepared
from folds.training.validate import ShiftPredictions

Results = list[dict[str, Any]]


@dataclass(frozen=True)
class PooledShift:
    """What the folds' models make of corrupted images of their validation parts.

    Parameters
    ----------
    shifted : ShiftPredictions
        Of all folds; rows of one fold after those of another.
    clean : ndarray of int64, shape (S,)
        Predicted classes of the same images as they are.
    fold, repeat : ndarray of int64, shape (S,)
    """

    shifted: ShiftPredictions
    clean: Ints
    fold: Ints
    repeat: Ints


@dataclass(frozen=True)
class Pooled:
    """All predictions of a run.

    Parameters
    ----------
    oof : OutOfFold
        Of each image, by the models that had not seen it.
    other_views : dict of str to ndarray of float32, shape (M, C)
        The same in other views, by their names; rows as those of `oof`.
    shift : PooledShift
        Under corruptions; without any where ``--shift off`` was said.
    holdout : HoldOut, optional
        Of the test part.
    external : dict of str to HoldOut
        Of external images, by their sets' names.
    """

    oof: OutOfFold
    other_views: dict[str, Floats]
    shift: PooledShift
    holdout: HoldOut | None
    external: dict[str, HoldOut]


def pool(prepared: Prepared, results: Results) -> Pooled:
    """Put the results of all folds together, in the order of images within a repeat."""
    problem = prepared.problem
    images = problem.images
    rows, fold, repeat = _where(prepared, [result["rows"] for result in results])
    order = np.lexsort((rows, repeat))
    rows, fold, repeat = rows[order], fold[order], repeat[order]

    def joined(name: str) -> Floats:
        return np.concatenate([result[name] for result in results])[order]

    oof = OutOfFold(
        images.ids[rows], images.labels[rows], fold, repeat, joined("probabilities"),
        images.groups[rows],
    )  # fmt: skip
    other_views = {view: joined(f"other_view_{view}") for view in results[0]["other_view_scores"]}
    external = {
        other.name: HoldOut(
            other.images.ids,
            other.images.labels,
            np.stack([result[f"external_{other.name}"] for result in results]),
        )
        for other in problem.externals
    }
    return Pooled(
        oof, other_views, _shift(prepared, results), _holdout(prepared, results), external
    )


def _where(prepared: Prepared, parts: list[Ints]) -> tuple[Ints, Ints, Ints]:
    """Rows of all folds one after another, and the fold and repeat of each."""
    sizes = [len(part) for part in parts]
    repeat, fold = (np.repeat([task[i] for task in prepared.folds], sizes) for i in (0, 1))
    return np.concatenate(parts), fold, repeat


def _shift(prepared: Prepared, results: Results) -> PooledShift:
    rows, fold, repeat = _where(prepared, [result["shift_rows"] for result in results])
    predicted = np.concatenate([result["shift_predicted"] for result in results], axis=1)
    cases = tuple(suite(prepared.problem.config.evaluation.shift))
    clean = [r["probabilities"][np.searchsorted(r["rows"], r["shift_rows"])] for r in results]
    seen = np.concatenate(clean).argmax(axis=1)
    return PooledShift(ShiftPredictions(rows, cases, predicted), seen, fold, repeat)


def _holdout(prepared: Prepared, results: Results) -> HoldOut | None:
    images = prepared.problem.images
    rows = prepared.problem.splits.holdout(images.ids)
    if not len(rows):
        return None
    probabilities = np.stack([result["holdout"] for result in results])
    return HoldOut(images.ids[rows], images.labels[rows], probabilities)


def shift_arrays(prepared: Prepared, found: PooledShift) -> dict[str, NDArray[Any]]:
    """The arrays of ``shift.npz``."""
    images, shifted = prepared.problem.images, found.shifted
    return {
        "ids": images.ids[shifted.rows],
        "labels": images.labels[shifted.rows],
        "groups": images.groups[shifted.rows],
        "fold": found.fold,
        "repeat": found.repeat,
        "corruptions": np.array([name for name, _ in shifted.cases]),
        "severities": np.array([severity for _, severity in shifted.cases]),
        "predicted": shifted.predicted,
        "clean": found.clean,
    }
