"""What the pooled predictions say: intervals, calibration, and what choosing epochs has gained."""

from dataclasses import dataclass

import numpy as np

from distributed.outcome.pooling import Pooled, Results
from folds.arrays import Floats, Ints
from folds.evaluation.calibration import out_of_fold_temperature
from folds.evaluation.intervals import Interval, Intervals, intervals, shift_intervals
from folds.evaluation.predictions import Predictions, ShiftPredictions
from folds.images import ImageSet


@dataclass(frozen=True)
class Assessment:
    """What can be said of a run's predictions.

    Parameters
    ----------
    oof : Intervals
        Of all out-of-fold predictions.
    support : ndarray of int64, shape (C,)
        Predictions whose true class each class is.
    temperature : float
        Of the registered model.
    calibrated : ndarray of float32, shape (M, C)
        Out-of-fold probabilities, each fold's with the temperature that the others give.
    after : Intervals
        Of those.
    shift : dict of str to Interval
        shift.accuracy and shift.macro_f1; empty without ``--shift``.
    best, last : float
        Value of ``--select-by`` of the best and the last epoch, in the mean over folds.
    """

    oof: Intervals
    support: Ints
    temperature: float
    calibrated: Floats
    after: Intervals
    shift: dict[str, Interval]
    best: float
    last: float


def assess(images: ImageSet, pooled: Pooled, results: Results) -> Assessment:
    """Say what can be said.

    Notes
    -----
    The temperature is that of the view which the registered model has: with ``--tta`` of the
    probabilities averaged over its views.
    """
    oof = pooled.oof
    plain = Predictions(oof.labels, oof.probabilities, oof.groups, oof.fold, oof.repeat)
    served = pooled.other_views.get("tta", oof.probabilities)
    calibrated, temperature = out_of_fold_temperature(oof.labels, served, plain.folds)
    histories = [result["history"] for result in results]
    best = [h[r["best_epoch"]]["score"] for h, r in zip(histories, results, strict=True)]
    return Assessment(
        oof=intervals(plain),
        support=np.bincount(oof.labels, minlength=len(images.class_names)),
        temperature=temperature,
        calibrated=calibrated,
        after=intervals(Predictions(oof.labels, calibrated, oof.groups, oof.fold, oof.repeat)),
        shift=_shift(images, pooled),
        best=float(np.mean(best)),
        last=float(np.mean([history[-1]["score"] for history in histories])),
    )


def _shift(images: ImageSet, pooled: Pooled) -> dict[str, Interval]:
    shifted = pooled.shift.shifted
    if not shifted.predicted.size:
        return {}
    found = shift_intervals(
        ShiftPredictions(
            images.labels[shifted.rows],
            shifted.predicted,
            np.array([name for name, _ in shifted.cases]),
            images.groups[shifted.rows],
            len(images.class_names),
        )
    )
    return {name: found[name] for name in ("shift.accuracy", "shift.macro_f1")}
