"""What the tests of faults share: a job that is watched, its processes, and two results compared.

A job trains long enough to be hit (`LONG`), on one thread a worker: its calm run's result is then
the same bit for bit. Every wait is for a condition, and ends in a failure that shows the output.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from tests.distributed.test_end_to_end import BASE, client_of, environment
from tracking.events import EpochEnded, Finished, read_journal

PATIENCE_S = 240.0
LONG = [
    *BASE, "--stages", "1:12:1e-3", "--shift", "off", "--audit", "off", "--output", "out",
    "--precision", "fp32", "--candidate", "best-fold",
]  # fmt: skip
SHARED = [*LONG, "--stages", "0:30:1e-2", "1:2:1e-3"]  # a head on features that all lanes share
LEDGER, WORKER = "ray::Ledger", "ray::RayTrainWorker"  # as Ray names their processes


class Job:
    """A command in a folder, whose lines are read as they come.

    Parameters
    ----------
    folder : Path
        Where it runs.
    words : sequence of str
        Of the command, behind ``python -m``.
    **variables
        Added to its environment.
    """

    def __init__(self, folder, *words, **variables):
        self.folder = Path(folder)
        self.lines, self.errors = [], []
        self.process = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=folder, text=True, start_new_session=True,
            env=environment() | {"PYTHONFAULTHANDLER": "1"} | variables,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_ctrl_c,
        )  # fmt: skip
        self._readers = [
            threading.Thread(target=_read, args=pair, daemon=True)
            for pair in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """End it, and with it what it has started."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def line(self, words, patience=PATIENCE_S):
        """Wait until it has printed a line with these words."""
        return wait(lambda: next((each for each in self.lines if words in each), None), self,
                    f"no line with {words!r}", patience)  # fmt: skip

    def event(self, wanted, patience=PATIENCE_S):
        """Wait until an event for which `wanted` says true is in the journal."""
        return wait(lambda: next(filter(wanted, self.journal()), None), self, "no event", patience)

    def epoch(self, task, number, patience=PATIENCE_S):
        """Wait until a fold has been trained for so many epochs."""
        return self.event(
            lambda event: (
                isinstance(event, EpochEnded)
                and (event.task, event.report.epoch + 1) == (task, number)
            ),
            patience,
        )

    @property
    def space(self):
        """The folder of its run."""
        return wait(lambda: max(self.folder.glob(".crossfold/*/run.json"), default=None), self,
                    "no run").parent  # fmt: skip

    def journal(self):
        """What has happened so far; nothing before the run has begun."""
        found = max(self.folder.glob(".crossfold/*/events.jsonl"), default=None)
        with contextlib.suppress(FileNotFoundError):  # the run has just ended
            return read_journal(found) if found is not None else []
        return []

    def processes(self, title, count):
        """Ids of its own Ray's processes whose title begins so, as soon as there are `count`."""
        wait(lambda: len(below(self.process.pid, title)) == count, self, f"not {count} {title}")
        return below(self.process.pid, title)

    def end(self, patience=PATIENCE_S):
        """Wait for its end; exit status, and what it wrote on stderr."""
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # every thread says where it is
            self.process.wait()
            raise AssertionError(f"it hangs: {self.told()}") from None
        for reader in self._readers:
            reader.join(5)
        return self.process.returncode, "".join(self.errors)

    def told(self):
        """All that it has printed."""
        return "".join([*self.lines, *self.errors])


def wait(condition, job, otherwise, patience=PATIENCE_S):
    """Wait until a condition is true, and return what it gives."""
    end = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() > end or (job is not None and job.process.poll() is not None):
            if found := condition():
                return found
            raise AssertionError(f"{otherwise}: {job.told() if job is not None else ''}")
        time.sleep(0.02)
    return found


def gone(pid):
    """Whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def below(pid, title):
    """Ids of the processes below a process whose title begins so."""
    return sorted(found for found in descendants(pid) if _title(found).startswith(title))


def descendants(pid):
    """Ids of the processes below a process."""
    children = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            above = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(above, []).append(int(path.parent.name))
    found, todo = [], [pid]
    while todo:
        todo += (own := children.get(todo.pop(), []))
        found += own
    return found


def _title(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def calm(folder, *words, **variables):
    """The undisturbed run of a job in a folder of its own; its output."""
    folder.mkdir()
    with Job(folder, "distributed.cv", *words, **variables) as job:
        status, _ = job.end()
    assert status == 0, job.told()
    return folder / "out"


def resume(folder, module="distributed.cv", **variables):
    """Go on with the interrupted run of a folder to its end; the job."""
    with Job(folder, module, "--resume", **variables) as job:
        status, errors = job.end()
    assert status == 0, job.told()
    assert errors == ""
    return job


def same(one, other):
    """Assert that two runs found the same, bit for bit."""
    first, second = (json.loads((out / "summary.json").read_text()) for out in (one, other))
    for key in ("oof", "calibration", "splits_digest"):
        assert first[key] == second[key], key
    assert [fold["scores"] for fold in first["folds"]] == [
        fold["scores"] for fold in second["folds"]
    ]
    left, right = (np.load(out / "oof.npz") for out in (one, other))
    for name in ("ids", "labels", "probabilities"):
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def recorded_once(client, experiment, folds, epochs=None):
    """Assert that MLflow has one parent, a child a fold, and each metric point once."""
    runs = client.search_runs([experiment])
    kinds = sorted(run.data.tags["crossfold.kind"] for run in runs)
    assert kinds == ["fold"] * folds + ["parent"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        for name in run.data.metrics:
            points = [
                (p.step, p.model_id) for p in client.get_metric_history(run.info.run_id, name)
            ]
            assert len(points) == len(set(points)), (run.info.run_name, name, points)
        if epochs is not None and run.data.tags["crossfold.kind"] == "fold":
            steps = [p.step for p in client.get_metric_history(run.info.run_id, "val_loss")]
            assert sorted(steps) == list(range(1, epochs + 1)), run.info.run_name


def whole(folder, reference, *, folds=2, epochs=12, client=None):
    """Assert that a run ended as the calm one did, and that all of it is in MLflow once."""
    same(folder / "out", reference)
    summary = json.loads((folder / "out" / "summary.json").read_text())
    experiment = summary["mlflow"]["experiment_id"]
    recorded_once(client or client_of(folder), experiment, folds, epochs)
    assert not (folder / ".crossfold").exists()


def finished(task):
    """Whether an event is the end of a fold, for `Job.event`."""
    return lambda event: isinstance(event, Finished) and event.task == task


def kill(*pids):
    """End processes without a word."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _read(stream, lines):
    for line in stream:
        lines.append(line)


def heeds(pid, number):
    """Whether a process has a handler for a signal; of SIGINT Python has one at once."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line for line in lines if line.startswith("SigCgt"))
    return int(caught.split()[1], 16) >> (number - 1) & 1


def heed_ctrl_c():
    """As in a terminal: what a shell starts in the background ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
