"""The learning curve of a run: its folds trained on less, beside the folds themselves."""

from collections.abc import Iterator

import numpy as np

from distributed.outcome.pooling import Pooled, out_of_fold
from distributed.run import Run
from folds.config.scores import SCORES
from folds.evaluation.learning_curve import learning_curve
from folds.evaluation.predictions import Predictions
from tracking.events import Failed
from tracking.summary_parts import CurvePoint, CurveSummary, Estimate, LawSummary

_OTHER = "accuracy"  # where models are chosen by more than a score of validation images


def curve_of(run: Run, pooled: Pooled) -> CurveSummary | None:
    """Score the folds of ``--learning-curve``; None where the flag was not given.

    A share of which a fold has failed has no point: what is left would be of other images.
    """
    prepared = run.prepared
    if not prepared.curve:
        return None
    select_by = run.config.evaluation.select_by
    score = select_by if select_by in SCORES else _OTHER
    points: dict[float, Predictions] = {}
    missing: dict[str, str] = {}
    causes = {event.task: event.cause for event in run.space.journal() if isinstance(event, Failed)}
    for share in reversed(prepared.curve):
        every = prepared.tasks_of_curve(share)
        tasks = [every[fold] for fold in run.there]
        lost = [task for task in tasks if task in causes and not run.space.finished(task)]
        missing |= {prepared.names[task]: causes[task] for task in lost}
        if all(run.space.finished(task) for task in tasks):
            outcomes = [run.space.read_outcome(task) for task in tasks]
            points[share] = out_of_fold(prepared.problem, outcomes).oof
    points[1.0] = pooled.oof
    images = [_images(run, share) for share in points]
    curve = learning_curve(images, list(points.values()), score)
    rows = zip(points, images, curve.scores, strict=True)
    return CurveSummary(
        score=score,
        points=[
            CurvePoint(
                share=share,
                images=number,
                scores={name: Estimate.of(one) for name, one in scores.items()},
            )
            for share, number, scores in rows
        ],
        law=None if curve.law is None else LawSummary(**vars(curve.law)),
        gain=None if curve.gain is None else Estimate.of(curve.gain),
        missing=missing,
    )


def _images(run: Run, share: float) -> float:
    """Training images of a fold, in the mean."""
    problem, folds = run.prepared.problem, [run.prepared.folds[fold] for fold in run.there]
    return float(np.mean([len(problem.parts(*fold, share)[0]) for fold in folds]))


def curve_metrics(curve: CurveSummary | None) -> Iterator[tuple[int, dict[str, float]]]:
    """What MLflow gets of each point: its number of images, and scores by name."""
    if curve is None:
        return
    for point in curve.points:
        values = {name: point.scores[name].value for name in (_OTHER, "macro_f1", curve.score)}
        there = {f"learning_curve.{n}": value for n, value in values.items() if value is not None}
        yield round(point.images), there
