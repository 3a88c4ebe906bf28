"""How good the pooled predictions are: intervals, calibration, what choosing epochs has gained."""

from dataclasses import dataclass, replace

import numpy as np

from distributed.outcome.pooling import Pooled, Results, crossfitted
from folds.arrays import Floats, Ints
from folds.evaluation.calibration import out_of_fold_temperature
from folds.evaluation.intervals import Interval, Intervals, intervals, shift_intervals
from folds.evaluation.predictions import ShiftPredictions
from folds.evaluation.slices import Slice, slices_of
from folds.images import ImageSet


@dataclass(frozen=True)
class Assessment:
    """How good a run's predictions are.

    Parameters
    ----------
    oof : Intervals
        Of all out-of-fold predictions.
    support : ndarray of int64, shape (C,)
        Predictions whose true class each class is.
    temperature : float
        Of all out-of-fold predictions.
    calibrated : ndarray of float32, shape (M, C)
        Out-of-fold probabilities, each fold's with the temperature that the others give.
    before, after : Intervals
        Out of fold in the view that the registered model has, without and with temperature.
    shift : dict of str to Interval
        shift.accuracy and shift.macro_f1; empty without ``--shift``.
    slices : dict of str to list of Slice
        Of each column: the site and ``--slices``.
    best, last, crossfit : float
        Value of ``--select-by`` of each fold's best and last epoch, and of the one that the other
        folds choose; means over folds.
    """

    oof: Intervals
    support: Ints
    temperature: float
    calibrated: Floats
    before: Intervals
    after: Intervals
    shift: dict[str, Interval]
    slices: dict[str, list[Slice]]
    best: float
    last: float
    crossfit: float


def assess(images: ImageSet, pooled: Pooled, results: Results) -> Assessment:
    """Put intervals around the pooled scores, fit the temperature, compare best and last epochs.

    Notes
    -----
    The temperature is that of the view which the registered model has: with ``--tta`` of the
    probabilities averaged over its views.
    """
    oof = pooled.oof
    calibrated, temperature = out_of_fold_temperature(
        oof.labels, [pooled.served], oof.folds, pooled.ids
    )
    plain = intervals(oof)
    same_view = pooled.served is oof.probabilities
    epochs = crossfitted(results)
    crossfit = [result.history[e].score for result, e in zip(results, epochs, strict=True)]
    return Assessment(
        oof=plain,
        support=np.bincount(oof.labels, minlength=len(images.class_names)),
        temperature=temperature,
        calibrated=calibrated,
        before=plain if same_view else intervals(replace(oof, probabilities=pooled.served)),
        after=intervals(replace(oof, probabilities=calibrated)),
        shift=_shift(images, pooled),
        slices={n: slices_of(oof, pooled.ids, values) for n, values in pooled.columns.items()},
        best=float(np.mean([result.best.score for result in results])),
        last=float(np.mean([result.history[-1].score for result in results])),
        crossfit=float(np.mean(crossfit)),
    )


def _shift(images: ImageSet, pooled: Pooled) -> dict[str, Interval]:
    """Intervals of the mean scores under corruptions, if any image was corrupted."""
    shift = pooled.shift
    if not shift.predicted.size:
        return {}
    by_name = shift_intervals(
        ShiftPredictions(
            images.labels[shift.rows],
            shift.predicted,
            np.array([name for name, _ in shift.cases]),
            images.groups[shift.rows],
            len(images.class_names),
        )
    )
    return {name: by_name[name] for name in ("shift.accuracy", "shift.macro_f1")}
