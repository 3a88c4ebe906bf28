"""The folds' predictions put together: what can be said of all of them at once."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from folds.arrays import Floats, Ints
from folds.config.corruptions import suite
from folds.evaluation.epoch_choice import crossfit_epochs
from folds.evaluation.metrics import softmax
from folds.evaluation.predictions import (
    COLUMN,
    CorruptedPredictions,
    Predictions,
    UnseenPredictions,
)
from folds.prepare import Prepared
from folds.training.outcome import FoldOutcome
from folds.training.problem import Problem

Results = list[FoldOutcome]
"""Of the folds that are there, in the order of their numbers (`Run.there`); without a refit."""


@dataclass(frozen=True)
class PooledShift(CorruptedPredictions):
    """What the folds' models make of corrupted images of their validation parts.

    Rows of one fold come after those of another.

    Parameters
    ----------
    clean : ndarray of int64, shape (S,)
        Predicted classes of the same images as they are.
    fold, repeat : ndarray of int64, shape (S,)
    """

    clean: Ints
    fold: Ints
    repeat: Ints


@dataclass(frozen=True)
class Pooled:
    """All predictions of a run.

    Parameters
    ----------
    ids : ndarray of str, shape (M,)
        Images of the rows of `oof`; M is images times repeats.
    oof : Predictions
        Of each image, by the models that had not seen it, after the epoch that was kept; with
        ``--choose-epoch crossfit`` after the one that the other folds choose.
    other_views : dict of str to ndarray of float32, shape (M, C)
        The same in other views, by their names; rows as those of `oof`.
    shift : PooledShift
        Under corruptions; without any where ``--shift off`` was said.
    holdout : UnseenPredictions, optional
        Of the test part.
    external : dict of str to UnseenPredictions
        Of external images, by their sets' names.
    columns : dict of str to ndarray of str, shape (M,)
        Sites and slices of the rows of `oof`, see `ImageSet`.
    """

    ids: NDArray[np.str_]
    oof: Predictions
    other_views: dict[str, Floats]
    shift: PooledShift
    holdout: UnseenPredictions | None
    external: dict[str, UnseenPredictions]
    columns: dict[str, NDArray[np.str_]] = field(default_factory=dict)

    @property
    def served(self) -> Floats:
        """Out-of-fold probabilities (M, C) in the view that the registered model has."""
        for view in ("adapted", "tta"):
            if view in self.other_views:
                return self.other_views[view]
        return self.oof.probabilities


class OutOfFold(NamedTuple):
    """Predictions of all validation images, in the order of images within a repeat.

    Parameters
    ----------
    oof : Predictions
        Of M rows.
    rows : ndarray of int64, shape (M,)
        Their images.
    order : ndarray of int64, shape (M,)
        What puts the folds' rows, one fold after another, into that order.
    """

    oof: Predictions
    rows: Ints
    order: Ints


def out_of_fold(problem: Problem, results: Results) -> OutOfFold:
    """Put together what the folds say of their validation parts."""
    images = problem.images
    rows, fold, repeat = _where(results, [result.rows for result in results])
    order = np.lexsort((rows, repeat))
    rows = rows[order]
    crossfit = problem.config.evaluation.choose_epoch == "crossfit"
    epochs = crossfitted(results) if crossfit else [result.kept_epoch for result in results]
    said = [_probabilities(*pair) for pair in zip(results, epochs, strict=True)]
    oof = Predictions(
        labels=images.labels[rows],
        probabilities=np.concatenate(said)[order],
        groups=images.groups[rows],
        fold=fold[order],
        repeat=repeat[order],
    )
    return OutOfFold(oof, rows, order)


def pool(prepared: Prepared, results: Results) -> Pooled:
    """Put the results of all folds together, in the order of images within a repeat."""
    problem = prepared.problem
    images = problem.images
    oof, rows, order = out_of_fold(problem, results)
    other_views = {
        view: np.concatenate([result.other_views[view] for result in results])[order]
        for view in results[0].other_views
    }
    external = {
        other.name: UnseenPredictions(
            other.images.ids,
            other.images.groups,
            other.images.labels,
            np.stack([result.external[other.name] for result in results]),
        )
        for other in problem.externals
    }
    return Pooled(
        images.ids[rows],
        oof,
        other_views,
        _shift(prepared, results),
        _holdout(prepared, results),
        external,
        {name: values[rows] for name, values in images.columns.items()},
    )


def crossfitted(results: Results) -> list[int]:
    """For each fold the epoch, from 0, that the other folds of its repeat would choose."""
    epochs: dict[tuple[int, int], int] = {}
    for repeat in {result.repeat for result in results}:
        own = [result for result in results if result.repeat == repeat]
        chosen = crossfit_epochs([[report.score for report in one.history] for one in own])
        epochs |= {(repeat, one.fold): int(e) for one, e in zip(own, chosen, strict=True)}
    return [epochs[result.repeat, result.fold] for result in results]


def _probabilities(outcome: FoldOutcome, epoch: int) -> Floats:
    """Probabilities (V, C) of a fold after an epoch; other epochs' are of logits in float16."""
    if epoch == outcome.kept_epoch:
        return outcome.probabilities
    return softmax(outcome.epoch_logits[epoch].astype(np.float32))


def _where(results: Results, parts: list[Ints]) -> tuple[Ints, Ints, Ints]:
    """Rows of all folds one after another, and the fold and repeat of each."""
    sizes = [len(part) for part in parts]
    fold = np.repeat([result.fold for result in results], sizes)
    repeat = np.repeat([result.repeat for result in results], sizes)
    return np.concatenate(parts), fold, repeat


def _shift(prepared: Prepared, results: Results) -> PooledShift:
    rows, fold, repeat = _where(results, [result.corrupted.rows for result in results])
    predicted = np.concatenate([result.corrupted.predicted for result in results], axis=1)
    kept = [result.corrupted.probabilities for result in results]
    cases = tuple(suite(prepared.problem.config.evaluation.shift))
    clean = [r.probabilities[np.searchsorted(r.rows, r.corrupted.rows)] for r in results]
    seen = np.concatenate(clean).argmax(axis=1)
    if not all(part.size for part in kept):  # one fold has more images than another
        return PooledShift(rows, cases, predicted, seen, fold, repeat)
    chances = np.concatenate(kept, axis=1)
    return PooledShift(rows, cases, predicted, seen, fold, repeat, probabilities=chances)


def _holdout(prepared: Prepared, results: Results) -> UnseenPredictions | None:
    images = prepared.problem.images
    rows = prepared.problem.splits.holdout(images.ids)
    if not len(rows):
        return None
    probabilities = np.stack([result.holdout for result in results])
    return UnseenPredictions(
        images.ids[rows], images.groups[rows], images.labels[rows], probabilities
    )


def oof_arrays(pooled: Pooled) -> dict[str, NDArray[Any]]:
    """The arrays of ``oof.npz``."""
    names = ("labels", "fold", "repeat", "probabilities", "groups")
    columns = {f"{COLUMN}{name}": values for name, values in pooled.columns.items()}
    other = {} if pooled.served is pooled.oof.probabilities else {"served": pooled.served}
    return {"ids": pooled.ids} | {n: getattr(pooled.oof, n) for n in names} | other | columns


def shift_arrays(prepared: Prepared, shift: PooledShift) -> dict[str, NDArray[Any]]:
    """The arrays of ``shift.npz``."""
    images = prepared.problem.images
    return {
        "ids": images.ids[shift.rows],
        "labels": images.labels[shift.rows],
        "groups": images.groups[shift.rows],
        "fold": shift.fold,
        "repeat": shift.repeat,
        "corruptions": np.array([name for name, _ in shift.cases]),
        "severities": np.array([severity for _, severity in shift.cases]),
        "predicted": shift.predicted,
        "clean": shift.clean,
    }
