"""The command itself is ended from outside, and goes on with --resume."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.distributed.test_end_to_end import client_of
from tests.distributed.test_tune import BASE as SEARCH
from tests.distributed.test_tune import SPACE
from tests.faults.faults import (
    LEDGER,
    LONG,
    WORKER,
    Job,
    descendants,
    gone,
    heeds,
    resume,
    wait,
    whole,
)

pytestmark = pytest.mark.slow
ONE = [*LONG, "--concurrent-folds", "1"]  # the second fold has not begun


def statuses(folder):
    client = client_of(folder)
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return sorted((run.data.tags["crossfold.kind"], run.info.status) for run in found)


def test_killed_it_goes_on_in_the_same_runs(tmp_path, reference):
    with Job(tmp_path, "distributed.cv", *LONG) as job:
        job.epoch(0, 4)
        left = [*job.processes(LEDGER, 1), *job.processes(WORKER, 2)]
        job.process.kill()
        job.process.wait()
        wait(lambda: all(map(gone, left)), None, "they outlive the driver", patience=10)
    resume(tmp_path)
    whole(tmp_path, reference)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("whom", ["driver", "everybody"])
def test_a_signal_is_one_line_and_the_run_goes_on(tmp_path, reference, number, status, whom):
    """Sent to the driver, as by a batch system, or to all of its processes, as by a terminal."""
    with Job(tmp_path, "distributed.cv", *LONG) as job:
        job.epoch(0, 3)
        job.line("epoch 2/12")
        if whom == "driver":
            job.process.send_signal(number)
        else:
            os.killpg(job.process.pid, number)
        told = job.end(30)
    assert told[0] == status, job.told()
    assert told[1].count("\n") == 1, told[1]
    assert told[1].startswith(
        "interrupted: to go on: python -m distributed.cv --resume test_resnet"
    )
    marked = statuses(tmp_path)
    assert ("parent", "KILLED") in marked
    assert {own for _, own in marked} == {"KILLED"}
    resume(tmp_path)
    whole(tmp_path, reference)


def test_ctrl_c_twice_ends_at_once(tmp_path, reference):
    with Job(tmp_path, "distributed.cv", *LONG) as job:
        job.epoch(0, 3)
        lock = subprocess.Popen(
            [sys.executable, "-c", _LOCK, str(tmp_path / "mlflow.db")],
            stdout=subprocess.PIPE, stdin=subprocess.PIPE,
        )  # fmt: skip
        lock.stdout.readline()
        job.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):  # it would wait for the locked database
            job.process.wait(1)
        start = time.monotonic()
        job.process.send_signal(signal.SIGINT)
        status, errors = job.end()
        assert time.monotonic() - start < 2
        lock.communicate()
    assert status == 130
    assert errors.count("\n") == 1, errors
    assert errors.startswith("interrupted twice: ended at once; to go on: python -m distributed.cv")
    resume(tmp_path)
    whole(tmp_path, reference)


_LOCK = """
import sqlite3, sys
base = sqlite3.connect(sys.argv[1], isolation_level=None)
base.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("beside", [None, "gcs_server", "raylet"])
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_before_the_first_line_is_one_line(tmp_path, number, status, beside):
    """Modules are being imported, and Ray is being started."""
    with Job(tmp_path, "distributed.cv", *LONG) as job:
        wait(lambda: heeds(job.process.pid, signal.SIGTERM), job, "it does not heed the signal")
        if beside is not None:
            wait(lambda: beside in map(name_of, descendants(job.process.pid)), job, "no Ray")
        job.process.send_signal(number)
        told = job.end(60)
    assert told[0] == status, job.told()
    assert told[1].count("\n") == 1, told[1]


def name_of(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_search_ends_and_goes_on_alike(tmp_path, number, status):
    (tmp_path / "space.yaml").write_text(SPACE)
    with Job(tmp_path, "distributed.tune", *SEARCH, "--output", "out") as job:
        job.line("trial 2/6")
        job.process.send_signal(number)
        told = job.end(30)
    assert told[0] == status, job.told()
    assert told[1].count("\n") == 1, told[1]
    assert "to go on: python -m distributed.tune --resume search-" in told[1]
    assert ("search", "KILLED") in statuses(tmp_path)
    resume(tmp_path, "distributed.tune")
