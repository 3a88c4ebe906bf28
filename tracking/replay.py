"""``python -m tracking.replay``: write to MLflow what a run could not, from its folder alone.

While folds are trained, what happens is kept in the run's folder, and MLflow is written beside it.
Where MLflow was away when the run ended, this writes what it does not have yet and closes its runs.
It trains nothing, and registers no model: ``python -m distributed.cv --resume`` does, and begins by
writing the same. Done twice, or stopped and done again, it writes everything once.
"""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

import folds.early  # noqa: F401  (first: what follows takes a second)
from folds.cli import parse, run
from folds.errors import RunError, UserError, counted, reason
from tracking.events import lost

if TYPE_CHECKING:
    from tracking.recorder import Recorder
    from tracking.run_folder import RunFolder


@dataclass
class Options:
    """Which run."""

    run: Annotated[
        str, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]", help_behavior_hint="")
    ] = "latest"
    """An interrupted run of the current folder: its name, the beginning of it, or without one the
    latest."""
    tracking_uri: str | None = None
    """MLflow store; default: the run's own, with user and password of MLFLOW_TRACKING_URI."""


def main() -> None:
    """Replay a run."""
    options = parse(Options, sys.argv[1:], prog="python -m tracking.replay", description=__doc__)
    from tracking.parent_run import Runs
    from tracking.recorder import Recorder
    from tracking.run_folder import find, hold
    from tracking.store import connect

    asked = "RUN"
    remedy = "run this where it began; what ended well is in MLflow already"
    space = find(options.run, asked=asked, remedy=remedy)
    with hold(space, asked):
        there = Runs.read(space.memory)
        go_on = f"python -m distributed.cv --resume {space.name}"
        if not there.parent or not there.tags:
            raise UserError(f"RUN {space.name}: MLflow has no run of it yet; to go on: {go_on}")
        store = connect(options.tracking_uri or there.uri)
        count, status = replay(Recorder.of(store, space), space)
    print(
        f"{counted(count, 'event')} of {space.name} written to {store.shown}, its run closed as "
        f"{status}; to train what is missing, register and report: {go_on}{store.again}"
    )


def replay(recorder: "Recorder", space: "RunFolder") -> tuple[int, str]:
    """Write the events that MLflow does not have, and close the runs.

    Returns
    -------
    count, status : int, str
        Events that were written, and how the parent run is closed: as the main job closed it, or,
        where that was cut off, as KILLED. Folds that have ended keep how they did.

    Raises
    ------
    RunError
        MLflow does not take them; those that it took are not written again.
    """
    journal = space.journal()
    recorder.incomplete = lost(journal) > 0
    events = journal[recorder.runs.written :]
    status, written = recorder.runs.status or "KILLED", recorder.runs.written
    try:
        for event in events:
            recorder.take(event, space)
        recorder.close(status)
    except Exception as error:  # MlflowException, or what the store's driver raises
        left = counted(len(events) - (recorder.runs.written - written), "event")
        raise RunError(
            f"{left} of {space.name} not written to {recorder.store.shown} "
            f"({reason(error)}); run this again when that is mended"
        ) from None
    return len(events), status


if __name__ == "__main__":
    sys.exit(run(main))
