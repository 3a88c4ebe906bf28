"""The end of the main job: predictions pooled, the best fold registered, all of it told."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from distributed.run import Run
from distributed.summary import (
    FoldSummary,
    HoldoutSummary,
    MlflowIds,
    Registered,
    Runtime,
    Scores,
    Summary,
    markdown,
    over_folds,
    print_summary,
    to_scores,
)
from folds.audit.tables import write_findings
from folds.evaluate import HoldOut, OutOfFold, better, confusion, scores
from folds.files import check_folder
from folds.prepare import Prepared
from folds.preview import sheet
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
    results = [run.space.read_result(task) for task in range(len(prepared.tasks))]
    pooled, holdout = _pool(prepared, results), _holdout(prepared, results)
    best = _best(run.config.train.metric, results)
    version = run.recorder.register(best, run.config.tracking.model_name)
    summary = _summarise(run, results, pooled, holdout, best, version)
    files = _write_files(run, summary, pooled, holdout)
    metrics = {f"oof_{name}": value for name, value in pooled.scores.items()}
    for view, found in summary.oof_beside.items():
        metrics |= {f"oof_{view}_{name}": value for name, value in found if value is not None}
    for name, spread in summary.over_folds.items():
        metrics |= {f"mean_{name}": spread.mean, f"std_{name}": spread.std}
    if holdout is not None:
        metrics |= {f"holdout_{name}": value for name, value in holdout.of_model(best).items()}
        metrics |= {f"holdout_ensemble_{n}": value for n, value in holdout.of_ensemble.items()}
    counts = confusion(pooled.labels, pooled.probabilities)
    figure = confusion_figure(counts, images.class_names, "all out-of-fold predictions")
    run.recorder.log_parent(metrics, files, figure, markdown(summary, prepared.names))
    return summary


def _pool(prepared: Prepared, results: list[dict[str, Any]]) -> OutOfFold:
    images = prepared.problem.images
    rows = np.concatenate([result["rows"] for result in results])
    sizes = [len(result["rows"]) for result in results]
    repeat, fold = (np.repeat([task[i] for task in prepared.tasks], sizes) for i in (0, 1))
    probabilities = np.concatenate([result["probabilities"] for result in results])
    order = np.lexsort((rows, repeat))
    return OutOfFold(
        images.ids[rows][order], images.labels[rows][order], fold[order], repeat[order],
        probabilities[order],
    )  # fmt: skip


def _pooled_beside(prepared: Prepared, results: list[dict[str, Any]]) -> dict[str, Scores]:
    """Scores of all out-of-fold predictions in other views, by the views' names."""
    labels = prepared.problem.images.labels[np.concatenate([result["rows"] for result in results])]
    return {
        view: to_scores(scores(labels, np.concatenate([r[f"beside_{view}"] for r in results])))
        for view in results[0]["beside_scores"]
    }


def _holdout(prepared: Prepared, results: list[dict[str, Any]]) -> HoldOut | None:
    """All folds' predictions for the test part, if there is one."""
    images = prepared.problem.images
    rows = prepared.problem.splits.holdout(images.ids)
    if not len(rows):
        return None
    probabilities = np.stack([result["holdout"] for result in results])
    return HoldOut(images.ids[rows], images.labels[rows], probabilities)


def _holdout_summary(holdout: HoldOut, best: int) -> HoldoutSummary:
    return HoldoutSummary(
        images=len(holdout.ids),
        best_fold=to_scores(holdout.of_model(best)),
        ensemble=to_scores(holdout.of_ensemble),
    )


def _best(metric: str, results: list[dict[str, Any]]) -> int:
    """The fold with the best score; the first of equals."""
    name = "log_loss" if metric == "loss" else metric
    best, value = 0, None
    for task, result in enumerate(results):
        if better(name, result["scores"][name], value):
            best, value = task, result["scores"][name]
    return best


def _summarise(
    run: Run,
    results: list[dict[str, Any]],
    pooled: OutOfFold,
    holdout: HoldOut | None,
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
        )
        for task, ((repeat, fold), result) in enumerate(zip(prepared.tasks, results, strict=True))
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
        oof=to_scores(pooled.scores),
        oof_beside=_pooled_beside(prepared, results),
        holdout=None if holdout is None else _holdout_summary(holdout, best),
        mlflow=MlflowIds(
            tracking_uri=run.recorder.store.uri,
            experiment_id=runs.experiment_id,
            parent_run=runs.parent,
        ),
        registered=Registered(
            name=run.config.tracking.model_name,
            version=version,
            alias="candidate",
            repeat=prepared.tasks[best][0],
            fold=prepared.tasks[best][1],
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


def _write_files(
    run: Run, summary: Summary, pooled: OutOfFold, holdout: HoldOut | None
) -> list[Path]:
    """Write summary.json, splits.json, oof.npz and, where there are such, holdout.npz, audit.csv.

    They go to the output, or else to the workspace.
    """
    folder = Path(run.config.tracking.output or run.space.folder / "output")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("summary.json", "splits.json", "oof.npz")]
    paths.append(folder / "augmentation.png")
    text = json.dumps(summary.model_dump(mode="json"), indent=2)
    paths[0].write_text(text + "\n", encoding="utf-8")
    run.prepared.problem.splits.write(paths[1])
    np.savez(paths[2], **{name: getattr(pooled, name) for name in pooled.__dataclass_fields__})
    problem, seed = run.prepared.problem, run.config.split.seed
    sheet(problem.images, run.config.train.augment, size=problem.size, seed=seed).save(paths[3])
    if holdout is not None:
        paths.append(folder / "holdout.npz")
        np.savez(paths[-1], **{n: getattr(holdout, n) for n in holdout.__dataclass_fields__})
    if (audit := run.prepared.audit) is not None:
        paths.append(folder / "audit.csv")
        write_findings(paths[-1], audit, audit.findings)
    return paths


def show(run: Run, summary: Summary) -> None:
    """Print the end of a run."""
    print_summary(run.console, summary, run.prepared.names, run.recorder.store.look)
    if run.config.tracking.output:
        run.console.print(f"files     {run.config.tracking.output}", highlight=False, markup=False)
