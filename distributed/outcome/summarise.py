"""The summary of a run, from its folds, their pooled predictions and what was chosen."""

import importlib.metadata
import platform
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distributed.lanes.watch import journal_notice
from distributed.outcome.assessment import Assessment
from distributed.outcome.candidates import Candidate, Choice
from distributed.outcome.pooling import Pooled, Results
from distributed.run import Run
from folds.arrays import Floats, Ints
from folds.config.scores import SCORES
from folds.evaluation.intervals import Interval, intervals
from folds.evaluation.metrics import macro_f1, scores
from folds.evaluation.predictions import Predictions, UnseenPredictions
from folds.evaluation.shift import ShiftScores
from folds.evaluation.slices import Slice, worst_of
from folds.training.outcome import EpochReport, FoldOutcome
from tracking.decisions import DecisionSummary
from tracking.events import Retried, lost, read_journal
from tracking.summary import Summary, over_folds
from tracking.summary_parts import (
    Calibration,
    CandidateSummary,
    Case,
    ClassSummary,
    CleanScores,
    EpochChoice,
    Estimate,
    FoldSummary,
    Missing,
    MlflowIds,
    Registered,
    Runtime,
    ScoredOn,
    Scores,
    ShiftSummary,
    SlicesSummary,
    SliceSummary,
    Software,
    finite,
)

_PACKAGES = ("crossfold", "torch", "timm", "kornia", "ray", "mlflow", "scikit-learn", "numpy")


def summarise(
    run: Run,
    results: Results,
    pooled: Pooled,
    shift: ShiftScores | None,
    assessment: Assessment,
    choice: Choice,
    decision: DecisionSummary,
) -> Summary:
    """Describe a finished run, all but the version of its model, which is not registered yet.

    Parameters
    ----------
    shift : ShiftScores, optional
        Pooled scores under corruptions.
    assessment : Assessment
        Of the pooled predictions.
    """
    prepared, runs, problem = run.prepared, run.recorder.runs, run.prepared.problem
    images = problem.images
    seconds = run.stopwatch.seconds | {"total": run.stopwatch.total}
    folds = [_fold(run, *pair) for pair in zip(run.there, results, strict=True)]
    labels = pooled.oof.labels
    return Summary(
        name=run.space.name,
        date=time.strftime("%Y-%m-%d"),
        config=run.config.flat(),
        **prepared.digests,
        stages=[str(stage) for stage in problem.stages],
        image_size=problem.size,
        images=len(images),
        scored=len(np.unique(pooled.ids)),
        class_names=list(images.class_names),
        class_images=images.counts,
        groups=len(np.unique(images.groups)),
        plan=run.plan.describe(),
        lanes=run.plan.lanes,
        runtime=Runtime(device=run.runtime.device.type, **run.runtime.settings),
        software=_software(),
        folds=folds,
        missing=[_missing(run, task, cause) for task, cause in run.missing.items()],
        over_folds=over_folds([fold.scores for fold in folds]),
        oof=Scores.of(scores(labels, pooled.oof.probabilities)),
        oof_intervals=_estimates(assessment.oof.pooled),
        classes=_classes(images.class_names, assessment),
        calibration=Calibration(
            temperature=choice.chosen.temperature,
            fitted_on=choice.chosen.fitted_on,
            before=_estimates(assessment.before.pooled),
            scores=_estimates(assessment.after.pooled),
        ),
        decision=decision,
        epoch_choice=EpochChoice(
            rule=run.config.evaluation.choose_epoch,
            best=assessment.best,
            last=assessment.last,
            crossfit=assessment.crossfit,
        ),
        oof_other_views={
            view: Scores.of(scores(labels, probabilities))
            for view, probabilities in pooled.other_views.items()
        },
        oof_shift=None
        if shift is None
        else _shift(images.labels[pooled.shift.rows], pooled, shift, assessment.shift),
        slices={name: _slices(own) for name, own in assessment.slices.items()},
        holdout=_holdout(pooled, choice),
        external={
            name: _scored(unseen, {c.kind: c.external[name] for c in choice.candidates})
            for name, unseen in pooled.external.items()
        },
        candidates=[_candidate(run, candidate) for candidate in choice.candidates],
        mlflow=MlflowIds(
            tracking_uri=run.recorder.store.shown,
            experiment_id=runs.experiment_id,
            parent_run=runs.parent,
        ),
        registered=_registered(run, choice),
        notices=_notices(run),
        seconds={name: round(value, 2) for name, value in seconds.items()},
    )


def _notices(run: Run) -> list[str]:
    """What was told before the folds were trained, and what of folds that were tried otherwise."""
    events = read_journal(run.space.events)
    tried = (event for event in events if isinstance(event, Retried))
    names = run.prepared.names
    told = [f"{names[event.task]}: {event.cause}" for event in tried]
    damaged = [journal_notice(lost(events))] if lost(events) else []
    return [*run.prepared.notices, *damaged, *told]


def _software() -> Software:
    """What this process, the main job, runs with."""
    return Software(
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: importlib.metadata.version(name) for name in _PACKAGES},
    )


def _fold(run: Run, task: int, result: FoldOutcome) -> FoldSummary:
    repeat, fold = run.prepared.folds[task]
    return FoldSummary(
        name=run.prepared.names[task],
        repeat=repeat,
        fold=fold,
        mlflow_run=run.recorder.runs.folds[str(task)],
        kept_epoch=result.kept_epoch + 1,
        averaged=result.averaged,
        epochs=len(result.history),
        **_speed(result.history, len(run.prepared.problem.stages)),
        scores=Scores.of(result.scores),
        other_views={view: Scores.of(own) for view, own in result.other_view_scores.items()},
        # A dot is in the names of corrupted and external images' scores; the others are `scores`.
        measured={n: finite(v) for n, v in result.measured.items() if "." in n},
    )


def _missing(run: Run, task: int, cause: str) -> Missing:
    problem, name = run.prepared.problem, run.prepared.names[task]
    if task == len(run.prepared.folds):
        return Missing(name=name, repeat=None, fold=None, images=0, cause=cause)
    repeat, fold = run.prepared.folds[task]
    held_out = problem.splits.parts(repeat, fold, problem.images.ids)[1]
    return Missing(name=name, repeat=repeat, fold=fold, images=len(held_out), cause=cause)


def _estimates(by_name: Mapping[str, Interval]) -> dict[str, Estimate]:
    return {name: Estimate.of(interval) for name, interval in by_name.items()}


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


def _classes(names: tuple[str, ...], assessment: Assessment) -> list[ClassSummary]:
    return [
        ClassSummary(
            name=name,
            images=int(assessment.support[label]),
            **{
                score: Estimate.of(of_each[label])
                for score, of_each in assessment.oof.per_class.items()
            },
        )
        for label, name in enumerate(names)
    ]


def _slices(slices: Sequence[Slice]) -> SlicesSummary:
    worst = worst_of(slices)
    return SlicesSummary(
        worst=None if worst is None else worst.value,
        values=[
            SliceSummary(
                value=one.value,
                images=one.images,
                enough=one.enough,
                accuracy=Estimate.of(one.accuracy),
                macro_f1=Estimate.of(one.macro_f1),
            )
            for one in slices
        ],
    )


def _shift(
    labels: Ints, pooled: Pooled, shift: ShiftScores, around: Mapping[str, Interval]
) -> ShiftSummary:
    """Scores of the corrupted images, whose true classes are the labels (S,)."""
    clean = pooled.shift.clean
    return ShiftSummary(
        images=len(labels),
        accuracy=shift.mean_accuracy,
        macro_f1=shift.mean_macro_f1,
        worst=shift.worst,
        worst_macro_f1=shift.macro_f1s[shift.worst],
        intervals=_estimates(around),
        clean=CleanScores(
            accuracy=float((clean == labels).mean()), macro_f1=macro_f1(labels, clean)
        ),
        cases=[
            Case(
                corruption=name, severity=severity, accuracy=shift.accuracy[name, severity],
                macro_f1=shift.macro_f1[name, severity],
            )
            for name, severity in pooled.shift.cases
        ],
    )  # fmt: skip


def _scored(unseen: UnseenPredictions, models: Mapping[str, Floats]) -> ScoredOn:
    labels = unseen.labels
    around = {kind: intervals(Predictions(labels, p, unseen.groups)) for kind, p in models.items()}
    return ScoredOn(
        images=len(labels),
        models={kind: Scores.of(scores(labels, p)) for kind, p in models.items()},
        intervals={kind: _estimates(own.pooled) for kind, own in around.items()},
        absent=_absent(labels, models),
    )


def _absent(labels: Ints, models: Mapping[str, Floats]) -> dict[str, float]:
    """Share of images that each model takes for a class that is not among the labels (N,)."""
    there = np.unique(labels)
    if all(len(there) == found.shape[1] for found in models.values()):
        return {}
    return {
        kind: float((~np.isin(found.argmax(axis=1), there)).mean())
        for kind, found in models.items()
    }


def _holdout(pooled: Pooled, choice: Choice) -> ScoredOn | None:
    if pooled.holdout is None:
        return None
    models = {c.kind: c.holdout for c in choice.candidates if c.holdout is not None}
    return _scored(pooled.holdout, models)


def _candidate(run: Run, candidate: Candidate) -> CandidateSummary:
    return CandidateSummary(
        kind=candidate.kind,
        members=len(candidate.folders),
        evidence=candidate.evidence,
        scores=Scores.of({name: candidate.measured[name] for name in SCORES}),
        value=finite(run.prepared.problem.select_by.value(candidate.measured)),
    )


def _registered(run: Run, choice: Choice) -> Registered:
    kind = choice.chosen.kind
    best = run.prepared.folds[run.there[choice.best]]
    repeat, fold = best if kind == "best-fold" else (None, None)
    return Registered(
        name=run.config.tracking.model_name, version="", alias="candidate", kind=kind,
        why=choice.why, repeat=repeat, fold=fold,
    )  # fmt: skip
