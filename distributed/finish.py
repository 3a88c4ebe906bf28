"""The end of the main job: predictions pooled, the best fold registered, all of it told."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from distributed.outputs import write_files
from distributed.pooling import Pooled, Results, pool
from distributed.run import Run
from distributed.summary import (
    Case,
    FoldSummary,
    MlflowIds,
    Registered,
    Runtime,
    ScoredOn,
    ShiftSummary,
    Summary,
    markdown,
    over_folds,
    print_summary,
    to_scores,
)
from folds.evaluate import HoldOut, Ints, confusion, scores
from folds.files import check_folder
from folds.selection import SelectBy
from folds.shift import shift_scores
from tracking.figures import confusion_figure


def check_output(output: str | None) -> None:
    """Refuse a place for the files that cannot be written to, before anything is trained.

    Raises
    ------
    UserError
        It is a file, or lies where folders may not be made.
    """
    if output is not None:
        check_folder(f"--output {output}", Path(output))


def finish(run: Run) -> Summary:
    """Pool the predictions, register the best fold, write and show the summary."""
    prepared, images = run.prepared, run.prepared.problem.images
    results = [run.space.read_result(task) for task in range(len(prepared.folds))]
    pooled = pool(prepared, results)
    best = _best(prepared.problem.select_by, results)
    version = run.recorder.register(best, run.config.tracking.model_name)
    summary = _summarise(run, results, pooled, best, version)
    files = write_files(run, summary, pooled)
    counts = confusion(pooled.oof.labels, pooled.oof.probabilities)
    figure = confusion_figure(counts, images.class_names, "all out-of-fold predictions")
    metrics = _metrics(summary, pooled, best)
    run.recorder.log_parent(metrics, files, figure, markdown(summary, prepared.names))
    return summary


def _metrics(summary: Summary, pooled: Pooled, best: int) -> dict[str, float]:
    """The parent run's metrics."""
    labels = pooled.oof.labels
    metrics = {f"oof_{name}": value for name, value in pooled.oof.scores.items()}
    for view, found in pooled.beside.items():
        metrics |= {f"oof_{view}_{name}": v for name, v in scores(labels, found).items()}
    if summary.oof_shift is not None:
        metrics |= {f"oof_shift.{name}": value for name, value in summary.oof_shift.flat().items()}
    for name, spread in summary.over_folds.items():
        metrics |= {f"mean_{name}": spread.mean, f"std_{name}": spread.std}
    sets = {f"external.{name}": found for name, found in pooled.external.items()}
    if pooled.holdout is not None:
        sets["holdout"] = pooled.holdout
    for name, test in sets.items():
        join = "." if "." in name else "_"
        metrics |= {f"{name}{join}{n}": value for n, value in test.of_model(best).items()}
        metrics |= {f"{name}{join}ensemble_{n}": v for n, v in test.of_ensemble.items()}
    return metrics


def _tested(found: HoldOut, best: int) -> ScoredOn:
    return ScoredOn(
        images=len(found.ids),
        best_fold=to_scores(found.of_model(best)),
        ensemble=to_scores(found.of_ensemble),
    )


def _best(select: SelectBy, results: Results) -> int:
    """The fold that is worth most; the first of equals."""
    return max(range(len(results)), key=lambda task: select.value(results[task]["measured"]))


def _shift_summary(pooled: Pooled, labels: Ints) -> ShiftSummary | None:
    """Pooled scores under corruptions, if there are any."""
    shifted = pooled.shift.shifted
    if not shifted.cases:
        return None
    found = shift_scores(
        labels[shifted.rows], dict(zip(shifted.cases, shifted.predicted, strict=True))
    )
    cases = [
        Case(
            corruption=case[0], severity=case[1], accuracy=found.accuracy[case],
            macro_f1=found.macro_f1[case],
        )
        for case in shifted.cases
    ]  # fmt: skip
    return ShiftSummary(
        images=len(shifted.rows),
        accuracy=found.mean_accuracy,
        macro_f1=found.mean_macro_f1,
        worst=found.worst,
        worst_macro_f1=found.macro_f1s[found.worst],
        cases=cases,
    )


def _summarise(
    run: Run,
    results: Results,
    pooled: Pooled,
    best: int,
    version: str,
) -> Summary:
    prepared, runs = run.prepared, run.recorder.runs
    assert run.runtime is not None
    seconds = run.seconds | {"total": time.perf_counter() - run.began}
    problem = prepared.problem
    folds = [
        FoldSummary(
            repeat=repeat,
            fold=fold,
            mlflow_run=runs.folds[str(task)],
            best_epoch=result["best_epoch"] + 1,
            averaged=result["averaged"],
            epochs=len(result["history"]),
            **_speed(result["history"], len(run.prepared.problem.stages)),
            scores=to_scores(result["scores"]),
            beside={view: to_scores(found) for view, found in result["beside_scores"].items()},
            measured={
                name: None if value != value else value
                for name, value in result["measured"].items()
                if "." in name
            },
        )
        for task, ((repeat, fold), result) in enumerate(zip(prepared.folds, results, strict=True))
    ]
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
        runtime=Runtime(device=run.runtime.device.type, **run.runtime.way),
        folds=folds,
        over_folds=over_folds([fold.scores for fold in folds]),
        oof=to_scores(pooled.oof.scores),
        oof_beside={
            view: to_scores(scores(pooled.oof.labels, found))
            for view, found in pooled.beside.items()
        },
        oof_shift=_shift_summary(pooled, problem.images.labels),
        holdout=None if pooled.holdout is None else _tested(pooled.holdout, best),
        external={name: _tested(found, best) for name, found in pooled.external.items()},
        mlflow=MlflowIds(
            tracking_uri=run.recorder.store.uri,
            experiment_id=runs.experiment_id,
            parent_run=runs.parent,
        ),
        registered=Registered(
            name=run.config.tracking.model_name,
            version=version,
            alias="candidate",
            repeat=prepared.folds[best][0],
            fold=prepared.folds[best][1],
        ),
        notices=list(prepared.notices),
        seconds={name: round(value, 2) for name, value in seconds.items()},
    )


def _speed(history: list[dict[str, Any]], stages: int) -> dict[str, Any]:
    """Seconds of each stage, and the images/s of the last one that was begun."""
    seconds = [0.0] * stages
    for report in history:
        seconds[report["stage"]] += report["seconds"]
    last = history[-1]["stage"]
    rates = [report["images_per_second"] for report in history if report["stage"] == last]
    return {
        "stage_seconds": [round(value, 3) for value in seconds],
        "images_per_second": round(float(np.median(rates)), 2),
    }


def show(run: Run, summary: Summary) -> None:
    """Print the end of a run."""
    print_summary(run.console, summary, run.prepared.names, run.recorder.store.look)
    if run.config.tracking.output:
        run.console.print(f"files     {run.config.tracking.output}", highlight=False, markup=False)
