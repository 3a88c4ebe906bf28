"""The main job: from a checked configuration to a registered model."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from distributed import cluster
from distributed.display import Display
from distributed.ledger import Ledger
from distributed.plan import Plan, make_plan
from distributed.prepare import Prepared
from distributed.scribe import Scribe
from distributed.summary import (
    FoldSummary,
    MlflowIds,
    Registered,
    Summary,
    markdown,
    over_folds,
    print_summary,
    to_scores,
)
from distributed.workspace import Workspace
from folds.config import Config
from folds.errors import RunError
from folds.evaluate import OutOfFold, better, confusion
from tracking.figures import confusion_figure
from tracking.recorder import FoldFiles, Recorder

POLL_S = 0.2


@dataclass
class Job:
    """A run that has been checked and planned, and what it works with.

    Parameters
    ----------
    config : Config
        The settings.
    prepared : Prepared
        Images, splits, first weights.
    plan : Plan
        Lanes.
    space : Workspace
        The run's folder.
    recorder : Recorder
        The way to MLflow.
    console : Console
        The screen.
    verbose : bool
        Show Ray's own words.
    """

    config: Config
    prepared: Prepared
    plan: Plan
    space: Workspace
    recorder: Recorder
    console: Console
    verbose: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the wall time of a block to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def fold_files(self, task: int) -> FoldFiles:
        """What the Recorder logs of a finished fold."""
        found = self.space.read_result(task)
        return FoldFiles(
            self.space.fold(task) / "bundle",
            self.prepared.problem.images.labels[found["rows"]],
            found["probabilities"],
            found["history"],
        )


def plan_for(config: Config, tasks: int) -> Plan:
    """Plan for this machine, or for the cluster that Ray has joined."""
    joined = cluster.address_of(config.cluster.address) is not None
    resources = cluster.cluster_resources() if joined else cluster.local_resources()
    return make_plan(
        resources,
        tasks,
        device=config.cluster.device,
        workers=config.cluster.workers_per_fold,
        lanes=config.cluster.concurrent_folds,
        batch_size=config.train.batch_size,
    )


def run(job: Job) -> Summary:
    """Train all folds, record them, register the best.

    Returns
    -------
    Summary

    Raises
    ------
    RunError
        A fold or the tracker failed; what is finished is kept for ``--resume``.
    """
    status = "FAILED"
    try:
        with job.phase("tracking"):
            _open(job)
        _train(job)
        with job.phase("finish"):
            summary = _finish(job)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise KeyboardInterrupt(_go_on(job)) from None
    except RunError as error:
        raise RunError(f"{error}; {_go_on(job)}") from None
    finally:
        _close(job, status)
    job.space.remove()
    return summary


def _go_on(job: Job) -> str:
    return f"to go on: python -m distributed.cv --resume {job.space.name}"


def _close(job: Job, status: str) -> None:
    try:
        job.recorder.close(status)
    except Exception as error:  # the tracker went away at the very end
        job.console.print(f"notice: the runs' status could not be written: {str(error)[:120]}")


def _open(job: Job) -> None:
    prepared = job.prepared
    tags = {
        "crossfold.data": job.config.data.data,
        "crossfold.backbone": job.config.model.backbone,
        **{f"crossfold.{name}": value for name, value in prepared.digests.items()},
    }
    if prepared.notices:
        tags["crossfold.notices"] = "\n".join(prepared.notices)
    params = job.config.flat() | {
        "stages": [str(stage) for stage in prepared.problem.stages],
        "image_size": prepared.problem.size,
    }
    job.recorder.open(job.config.tracking.experiment, job.space.name, params, tags)


def _train(job: Job) -> None:
    """Run the lanes, and follow their journal until every fold has ended."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    with job.phase("start"):
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        ledger = (
            ray.remote(Ledger)
            .options(num_cpus=0, scheduling_strategy=here)
            .remote(
                str(job.space.folder.resolve()),
                job.prepared.tasks,
                job.prepared.card,
                job.config.cluster.max_failures,
            )
        )
        old = len(ray.get(ledger.events.remote(0)))
        to_do = sum(not job.space.finished(task) for task in range(len(job.prepared.tasks)))
        lanes = _start_lanes(job, ledger, to_do)
    with job.phase("training"):
        failed = _follow(job, ledger, lanes, old, to_do)
    if failed:
        raise RunError("; ".join(failed))


def _start_lanes(job: Job, ledger: Any, to_do: int) -> "list[_LaneThread]":
    import ray

    problem = ray.put(job.prepared.problem)
    threads = [
        _LaneThread(number, problem, ledger, job) for number in range(min(job.plan.lanes, to_do))
    ]
    for thread in threads:
        thread.start()
    return threads


class _LaneThread(threading.Thread):
    """Waits for one lane; `error` says why it ended early."""

    def __init__(self, number: int, problem: Any, ledger: Any, job: Job) -> None:
        super().__init__(name=f"lane-{number}", daemon=True)
        from distributed.lane import Lane

        self._lane = Lane(number, problem, ledger, job.plan)
        self._storage = str((job.space.folder / "ray").resolve())
        self._name = f"lane-{number}-{time.time_ns()}"
        self.error: str | None = None

    def run(self) -> None:
        from distributed.lane import run_lane

        try:
            run_lane(self._lane, storage=self._storage, name=self._name)
        except BaseException as error:  # Ray raises its own, its workers' and SystemExit
            self.error = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _follow(job: Job, ledger: Any, lanes: "list[_LaneThread]", old: int, to_do: int) -> list[str]:
    """Show and record events until all lanes have ended.

    Returns
    -------
    list of str
        Why folds have failed.
    """
    import ray

    names, problem = job.prepared.names, job.prepared.problem
    seen, failed, ended = 0, [], set[int]()
    scribe = Scribe(job.recorder, job.fold_files, lambda text: job.console.print(f"notice: {text}"))
    with Display(job.console, names, problem.stages, job.plan.lanes) as display:
        alive = True
        while alive:
            alive = any(thread.is_alive() for thread in lanes) and to_do > len(ended)
            events = ray.get(ledger.events.remote(seen))
            for number, event in enumerate(events, start=seen):
                if number >= old or event["kind"] != "failed":
                    display.show(event)
                if number >= old and event["kind"] == "failed":
                    failed.append(f"{names[event['task']]}: {event['cause']}")
                if number >= old and event["kind"] in ("failed", "finished"):
                    ended.add(event["task"])
            scribe.take(events[max(0, job.recorder.runs.written - seen) :] if not seen else events)
            seen += len(events)
            if alive:
                time.sleep(POLL_S)
    scribe.close()
    failed += [f"lane {n + 1}: {t.error}" for n, t in enumerate(lanes) if t.error]
    if not failed and len(ended) < to_do:
        failed = ["the lanes ended before all folds were trained"]
    return failed


def _finish(job: Job) -> Summary:
    """Pool the predictions, register the best fold, write and show the summary."""
    prepared, images = job.prepared, job.prepared.problem.images
    results = [job.space.read_result(task) for task in range(len(prepared.tasks))]
    pooled = _pool(prepared, results)
    best = _best(job.config.train.metric, results)
    version = job.recorder.register(best, job.config.tracking.model_name)
    summary = _summarise(job, results, pooled, best, version)
    files = _write_files(job, summary, pooled)
    metrics = {f"oof_{name}": value for name, value in pooled.scores.items()}
    for name, spread in summary.over_folds.items():
        metrics |= {f"mean_{name}": spread.mean, f"std_{name}": spread.std}
    counts = confusion(pooled.labels, pooled.probabilities)
    figure = confusion_figure(counts, images.class_names, "all out-of-fold predictions")
    job.recorder.log_parent(metrics, files, figure, markdown(summary, prepared.names))
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


def _best(metric: str, results: list[dict[str, Any]]) -> int:
    """The fold with the best score; the first of equals."""
    name = "log_loss" if metric == "loss" else metric
    best, value = 0, None
    for task, result in enumerate(results):
        if better(name, result["scores"][name], value):
            best, value = task, result["scores"][name]
    return best


def _summarise(
    job: Job, results: list[dict[str, Any]], pooled: OutOfFold, best: int, version: str
) -> Summary:
    prepared, runs = job.prepared, job.recorder.runs
    problem = prepared.problem
    folds = [
        FoldSummary(
            repeat=repeat,
            fold=fold,
            mlflow_run=runs.folds[str(task)],
            best_epoch=result["best_epoch"] + 1,
            epochs=len(result["history"]),
            scores=to_scores(result["scores"]),
        )
        for task, ((repeat, fold), result) in enumerate(zip(prepared.tasks, results, strict=True))
    ]
    return Summary(
        name=job.space.name,
        config=job.config.flat(),
        **prepared.digests,
        stages=[str(stage) for stage in problem.stages],
        image_size=problem.size,
        images=len(problem.images),
        class_names=list(problem.images.class_names),
        plan=job.plan.describe(),
        folds=folds,
        over_folds=over_folds([fold.scores for fold in folds]),
        oof=to_scores(pooled.scores),
        mlflow=MlflowIds(
            tracking_uri=job.recorder.store.uri,
            experiment_id=runs.experiment_id,
            parent_run=runs.parent,
        ),
        registered=Registered(
            name=job.config.tracking.model_name,
            version=version,
            alias="candidate",
            repeat=prepared.tasks[best][0],
            fold=prepared.tasks[best][1],
        ),
        notices=list(prepared.notices),
        seconds={name: round(value, 2) for name, value in job.seconds.items()},
    )


def _write_files(job: Job, summary: Summary, pooled: OutOfFold) -> list[Path]:
    """Write summary.json, splits.json and oof.npz to the output, or else to the workspace."""
    folder = Path(job.config.tracking.output or job.space.folder / "output")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("summary.json", "splits.json", "oof.npz")]
    text = json.dumps(summary.model_dump(mode="json"), indent=2)
    paths[0].write_text(text + "\n", encoding="utf-8")
    job.prepared.problem.splits.write(paths[1])
    np.savez(paths[2], **{name: getattr(pooled, name) for name in pooled.__dataclass_fields__})
    return paths


def show(job: Job, summary: Summary) -> None:
    """Print the end of a run."""
    print_summary(job.console, summary, job.prepared.names, job.recorder.store.look)
    if job.config.tracking.output:
        job.console.print(f"files     {job.config.tracking.output}", highlight=False, markup=False)
