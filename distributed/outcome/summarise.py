"""The summary of a run, from what was found."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distributed.outcome.assessment import Assessment
from distributed.outcome.candidates import Candidate, Choice
from distributed.outcome.pooling import Pooled, Results
from distributed.run import Run
from folds.arrays import Floats, Ints
from folds.config.scores import SCORES
from folds.evaluation.intervals import Interval
from folds.evaluation.metrics import scores
from folds.evaluation.shift import ShiftScores
from folds.training.outcome import EpochReport, FoldOutcome
from tracking.summary import (
    Calibration,
    CandidateSummary,
    Case,
    ClassSummary,
    FoldSummary,
    Gap,
    MlflowIds,
    Registered,
    Runtime,
    ScoredOn,
    ShiftSummary,
    Summary,
    defined,
    estimated,
    over_folds,
    to_scores,
)


def summarise(
    run: Run,
    results: Results,
    pooled: Pooled,
    shift: ShiftScores | None,
    said: Assessment,
    choice: Choice,
) -> Summary:
    """Put everything together but the version, which is not registered yet.

    Parameters
    ----------
    shift : ShiftScores, optional
        Pooled scores under corruptions.
    said : Assessment
        Of the pooled predictions.
    """
    prepared, runs, problem = run.prepared, run.recorder.runs, run.prepared.problem
    seconds = run.stopwatch.seconds | {"total": run.stopwatch.total}
    folds = [_fold(run, task, result) for task, result in enumerate(results)]
    labels = pooled.oof.labels
    views = {view: to_scores(scores(labels, found)) for view, found in pooled.other_views.items()}
    return Summary(
        name=run.space.name,
        config=run.config.flat(),
        **prepared.digests,
        stages=[str(stage) for stage in problem.stages],
        image_size=problem.size,
        images=len(problem.images),
        class_names=list(problem.images.class_names),
        plan=run.plan.describe(),
        lanes=run.plan.lanes,
        runtime=Runtime(device=run.runtime.device.type, **run.runtime.settings),
        folds=folds,
        over_folds=over_folds([fold.scores for fold in folds]),
        oof=to_scores(scores(labels, pooled.oof.probabilities)),
        oof_intervals={name: estimated(found) for name, found in said.oof.pooled.items()},
        classes=_classes(problem.images.class_names, said),
        calibration=Calibration(
            temperature=said.temperature,
            scores={name: estimated(found) for name, found in said.after.pooled.items()},
        ),
        gap=Gap(best=said.best, last=said.last),
        oof_other_views=views,
        oof_shift=None if shift is None else _shift(pooled, shift, said.shift),
        holdout=_holdout(pooled, choice),
        external={
            name: _scored(found.labels, {c.kind: c.external[name] for c in choice.candidates})
            for name, found in pooled.external.items()
        },
        candidates=[_candidate(run, candidate) for candidate in choice.candidates],
        mlflow=MlflowIds(
            tracking_uri=run.recorder.store.uri,
            experiment_id=runs.experiment_id,
            parent_run=runs.parent,
        ),
        registered=_registered(run, choice),
        notices=list(prepared.notices),
        seconds={name: round(value, 2) for name, value in seconds.items()},
    )


def _fold(run: Run, task: int, result: FoldOutcome) -> FoldSummary:
    repeat, fold = run.prepared.folds[task]
    return FoldSummary(
        repeat=repeat,
        fold=fold,
        mlflow_run=run.recorder.runs.folds[str(task)],
        best_epoch=result.best_epoch + 1,
        averaged=result.averaged,
        epochs=len(result.history),
        **_speed(result.history, len(run.prepared.problem.stages)),
        scores=to_scores(result.scores),
        other_views={view: to_scores(found) for view, found in result.other_view_scores.items()},
        measured={n: defined(v) for n, v in result.measured.items() if "." in n},
    )


def _speed(history: Sequence[EpochReport], stages: int) -> dict[str, Any]:
    """Seconds of each stage, and the images/s of the last one that was begun."""
    seconds = [0.0] * stages
    for report in history:
        seconds[report.stage] += report.seconds
    last = history[-1].stage
    rates = [report.images_per_second for report in history if report.stage == last]
    return {
        "stage_seconds": [round(value, 3) for value in seconds],
        "images_per_second": round(float(np.median(rates)), 2),
    }


def _classes(names: tuple[str, ...], said: Assessment) -> list[ClassSummary]:
    found = said.oof.per_class
    return [
        ClassSummary(
            name=name,
            images=int(said.support[label]),
            **{score: estimated(each[label]) for score, each in found.items()},
        )
        for label, name in enumerate(names)
    ]


def _shift(pooled: Pooled, found: ShiftScores, ends: Mapping[str, Interval]) -> ShiftSummary:
    cases = [
        Case(
            corruption=name, severity=severity, accuracy=found.accuracy[name, severity],
            macro_f1=found.macro_f1[name, severity],
        )
        for name, severity in pooled.shift.cases
    ]  # fmt: skip
    return ShiftSummary(
        images=len(pooled.shift.rows),
        accuracy=found.mean_accuracy,
        macro_f1=found.mean_macro_f1,
        worst=found.worst,
        worst_macro_f1=found.macro_f1s[found.worst],
        intervals={name: estimated(interval) for name, interval in ends.items()},
        cases=cases,
    )


def _scored(labels: Ints, models: Mapping[str, Floats]) -> ScoredOn:
    each = {kind: to_scores(scores(labels, found)) for kind, found in models.items()}
    return ScoredOn(images=len(labels), models=each)


def _holdout(pooled: Pooled, choice: Choice) -> ScoredOn | None:
    if pooled.holdout is None:
        return None
    models = {c.kind: c.holdout for c in choice.candidates if c.holdout is not None}
    return _scored(pooled.holdout.labels, models)


def _candidate(run: Run, found: Candidate) -> CandidateSummary:
    return CandidateSummary(
        kind=found.kind,
        members=len(found.folders),
        evidence=found.evidence,
        scores=to_scores({name: found.measured[name] for name in SCORES}),
        value=defined(run.prepared.problem.select_by.value(found.measured)),
    )


def _registered(run: Run, choice: Choice) -> Registered:
    kind = choice.chosen.kind
    repeat, fold = run.prepared.folds[choice.best] if kind == "best-fold" else (None, None)
    return Registered(
        name=run.config.tracking.model_name, version="", alias="candidate", kind=kind,
        why=choice.why, repeat=repeat, fold=fold,
    )  # fmt: skip
