"""The middle of the main job: lanes at work, and their journal followed."""

import os
import threading
import time
import uuid
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distributed.cluster import LANE_THREAD, SILENCE, address_of
from distributed.lanes.display import Display
from distributed.lanes.frozen_features import cut
from distributed.lanes.lane import Lane, run_lane
from distributed.lanes.ledger import Ledger
from distributed.lanes.pieces import Piece
from distributed.lanes.recording import RecorderThread
from distributed.lanes.trainer import NOT_LEAN, lean_trainer
from distributed.run import Run
from folds.errors import RunError, counted, listed, reason
from folds.evaluation.metrics import odd_initial_loss
from folds.training.frozen import shareable_views
from tracking.events import EpochEnded, Event, Failed, Finished, Lost, Retried, lost, read_journal

POLL_S = 0.5
RESTARTS = 20  # of the ledger's process
COME_BACK_S = 60.0  # that a process takes to start, on a busy machine
LANE_STARTS = 3


def train(run: Run) -> dict[int, str]:
    """Run the lanes until every fold has ended, showing and recording what happens.

    Returns
    -------
    dict of int to str
        Why tasks have failed for good, by their numbers; all others are finished, but for a refit,
        which nobody begins where a fold has failed. Those of the learning curve are not told.

    Raises
    ------
    RunError
        Lanes ended before their folds, or events could not be recorded.
    """
    tasks = range(len(run.prepared.tasks))
    dropped = {t: run.space.drop_damaged(t) for t in tasks if run.space.finished(t)}
    to_do = {task for task in tasks if not run.space.finished(task)}
    before = _given_up(run, to_do)
    if before:
        names = listed(run.prepared.names[task] for task in before)
        run.notify(f"--allow-partial: not tried again, since it failed before: {names}")
        to_do = set()
    with run.stopwatch.phase("start"):
        ledger = _start_ledger(run, to_do)
        watch = _Watch(run, ledger, to_do)
        for task, told in dropped.items():
            if told is not None:
                ask(ledger, ledger.again.remote(task, told))
        lanes = _start_lanes(run, ledger, len(to_do))
    with run.stopwatch.phase("training"):
        failed = watch.follow(lanes)
    run.stopwatch.seconds |= ask(ledger, ledger.seconds.remote())
    first = run.prepared.first_of_curve
    return before | {task: cause for task, cause in failed.items() if task < first}


def _given_up(run: Run, to_do: set[int]) -> dict[int, str]:
    """Why folds have failed before this start, where there are others and none is left to train."""
    folds = set(range(len(run.prepared.folds)))
    last = {event.task: event for event in read_journal(run.space.events) if event.task in to_do}
    failed = {task: event.cause for task, event in last.items() if isinstance(event, Failed)}
    concluded = folds & to_do <= failed.keys() and bool(folds - to_do)
    failed = {task: cause for task, cause in failed.items() if task < run.prepared.first_of_curve}
    return failed if run.config.tracking.allow_partial and concluded else {}


def _start_ledger(run: Run, to_do: set[int]) -> Any:
    """Put the ledger on this machine, where the run's folder is.

    Killed, it is started again, and what it was asked meanwhile is asked again.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(Ledger).options(
        num_cpus=0, scheduling_strategy=here, max_restarts=RESTARTS, max_task_retries=-1
    )
    return actor.remote(
        str(run.space.folder.resolve()),
        run.prepared.tasks,
        run.config.cluster.max_failures,
        _pieces(run, to_do),
        refit=run.prepared.refit,
        curve=[share for share in run.prepared.curve for _ in run.prepared.folds],
        distill=run.config.tracking.distill,
        written=run.recorder.runs.written,
        start=uuid.uuid4().hex,
    )


def ask(ledger: Any, asked: Any) -> Any:
    """What the ledger answers; one that says nothing for long is started again.

    Raises
    ------
    RayError
        It cannot be started any more.
    """
    silence = float(os.environ[SILENCE])
    try:
        return ray.get(asked, timeout=silence)
    except GetTimeoutError:
        ray.kill(ledger, no_restart=False)
        return ray.get(asked, timeout=silence + COME_BACK_S)


def _pieces(run: Run, to_do: set[int]) -> list[Piece]:
    """What is computed once for all folds: as much of the frozen front as the budget allows."""
    problem, budget = run.prepared.problem, run.config.cluster.cache_budget
    if budget == "auto":
        budget = ray.cluster_resources().get("object_store_memory", 0) / 2e9
    views = shareable_views(problem, int(budget * 1e9))
    events = read_journal(run.space.events)
    begun = min((_epochs_done(run, task, events) for task in to_do), default=0)
    last = max((view.epoch for view in views), default=-1)
    return cut(views, len(problem.images)) if begun <= last else []


def _epochs_done(run: Run, task: int, events: list[Event]) -> int:
    """Epochs that a fold's checkpoint covers, at most."""
    if not run.space.checkpoint(task).exists():
        return 0
    return sum(isinstance(event, EpochEnded) and event.task == task for event in events)


def _start_lanes(run: Run, ledger: Any, to_do: int) -> "list[_LaneThread]":
    if run.plan.workers == 1 and lean_trainer() is None:
        run.notify(NOT_LEAN)
    problem = ray.put(run.prepared.problem)
    storage = str((run.space.folder / "ray").resolve())
    lanes = [
        Lane(n, problem, ledger, run.plan, run.runtime, run.trial)
        for n in range(min(run.plan.lanes, to_do))
    ]
    joined = address_of(run.config.cluster.address) is not None
    threads = [_LaneThread(lane, storage, grows=joined) for lane in lanes]
    for thread in threads:
        thread.start()
    return threads


class _LaneThread(threading.Thread):
    """Waits for one lane; `error` says why it ended early."""

    def __init__(self, lane: Lane, storage: str, *, grows: bool) -> None:
        super().__init__(name=f"{LANE_THREAD}{lane.number}", daemon=True)
        self._lane, self._storage, self._grows = lane, storage, grows
        self.error: str | None = None

    def run(self) -> None:
        """Start the lane; again where the process that cares for its workers was lost."""
        for _ in range(LANE_STARTS):
            name = f"lane-{self._lane.number}-{time.time_ns()}"
            try:
                run_lane(self._lane, storage=self._storage, name=name, grows=self._grows)
                self.error = None
                return
            except BaseException as error:  # Ray raises its own, its workers' and SystemExit
                self.error = f"{type(error).__name__}: {reason(error, most=300)}"
                if not isinstance(error, RayActorError):
                    return


def journal_notice(count: int) -> str:
    """What is told of a journal that has lost events."""
    return (
        f"{counted(count, 'line')} of the run's journal damaged: what MLflow has not got of them "
        "comes when their folds are finished, but for times and hosts"
    )


class _Watch:
    """Reads the journal and passes each event to the screen and to the Recorder, once."""

    def __init__(self, run: Run, ledger: Any, to_do: set[int]) -> None:
        self._run, self._ledger, self._to_do = run, ledger, to_do
        events = ask(ledger, ledger.events.remote(0))
        self._old = len(events)  # from before this start
        if lost(events):
            run.recorder.incomplete = True
            run.notify(journal_notice(lost(events)))
        self._seen = 0
        self._failed: dict[int, str] = {}
        self._losses: dict[int, int] = {}

    def follow(self, lanes: list[_LaneThread]) -> dict[int, str]:
        """Watch until all folds have ended; their workers' tear-down need not be waited for.

        Returns
        -------
        dict of int to str
            Why tasks have failed, by their numbers.

        Raises
        ------
        RunError
            The lanes ended before, or events could not be recorded.
        """
        run = self._run
        written = run.recorder.runs.written
        store = run.recorder.store
        remedy = f"python -m tracking.replay {run.space.name}{store.again}"
        recorder_thread = RecorderThread(
            run.write, store.shown, run.notify, f"`{remedy}` writes them when it answers again"
        )
        names, stages = run.prepared.names, run.prepared.problem.stages
        try:
            with Display(run.console, names, stages, run.plan.lanes) as display:
                going = True
                while going:
                    going = bool(self._to_do) and any(lane.is_alive() for lane in lanes)
                    events = self._events()
                    recorder_thread.check()
                    recorder_thread.take(events[max(0, written - self._seen) :])
                    for event in events:
                        self._take(event, display)
                    time.sleep(POLL_S if going else 0)
            recorder_thread.close()
        except BaseException:  # Ctrl-C, or Ray is gone: nobody else may write while runs are closed
            recorder_thread.stop()
            raise
        folds = len(run.prepared.folds)
        waits = {folds} if any(task < folds for task in self._failed) else set()  # the refit
        if self._to_do - waits:
            why = [f"{names[task]}: {cause}" for task, cause in self._failed.items()]
            why += [f"a lane ended early: {lane.error}" for lane in lanes if lane.error]
            raise RunError("; ".join(why) or "the lanes ended before all folds were trained")
        return self._failed

    def _events(self) -> list[Event]:
        """What is new in the journal.

        Raises
        ------
        RunError
            The run's folder cannot be written; what was written before is whole.
        """
        ledger = self._ledger
        asked = [
            ledger.events.remote(self._seen),
            ledger.unwritten.remote(),
            ledger.losses.remote(),
        ]
        events, unwritten, losses = ask(ledger, asked)
        if unwritten is not None:
            raise RunError(unwritten)
        self._tell_losses(losses)
        return events

    def _tell_losses(self, losses: dict[int, int]) -> None:
        """Tell of folds that have lost workers since it was asked last."""
        most = self._run.config.cluster.max_failures
        for task, times in losses.items():
            if self._losses.get(task, 0) < times <= most:
                self._run.notify(
                    f"{self._run.prepared.names[task]} has lost its workers, {times} of the {most} "
                    "times it may (--max-failures), and goes on from its last checkpoint"
                )
        self._losses = losses

    def _take(self, event: Event, display: Display) -> None:
        """Show an event; a failure from before this start is being mended."""
        new = self._seen >= self._old
        self._seen += 1
        if isinstance(event, Failed) and not new:
            return
        if not isinstance(event, Retried | Lost):  # which is a notice
            display.show(event)
        if not new:
            return
        prepared = self._run.prepared
        match event:
            case EpochEnded(report=report) if report.epoch == 0:
                classes = len(prepared.problem.images.class_names)
                if (odd := odd_initial_loss(report.first_loss, classes)) is not None:
                    self._run.notify(f"{prepared.names[event.task]}: {odd}")
            case Retried(cause=cause):
                self._run.notify(f"{prepared.names[event.task]}: {cause}")
            case Failed():
                self._failed[event.task] = event.cause
                self._to_do.discard(event.task)
            case Finished():
                self._to_do.discard(event.task)
