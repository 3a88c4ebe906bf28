"""A process that says nothing any more is found, ended and replaced."""

import os
import signal

import pytest

from distributed.cluster import SILENCE
from tests.faults.faults import LEDGER, LONG, WORKER, Job, finished, gone, wait, whole
from tests.faults.test_workers import TWO, calm

pytestmark = pytest.mark.slow
SOON = {SILENCE: "4"}


def test_a_worker_that_hangs_is_ended_and_its_lane_goes_on(tmp_path, reference):
    with Job(tmp_path, "distributed.cv", *LONG, **SOON) as job:
        for task in (0, 1):
            job.epoch(task, 2)
        hung, _ = job.processes(WORKER, 2)
        os.kill(hung, signal.SIGSTOP)
        wait(lambda: gone(hung), job, "the stopped process is still there")
        status, errors = job.end()
    assert (status, errors) == (0, ""), job.told()
    whole(tmp_path, reference)


def test_it_counts_as_a_loss(tmp_path):
    with Job(tmp_path, "distributed.cv", *LONG, "--max-failures", "0", **SOON) as job:
        for task in (0, 1):
            job.epoch(task, 2)
        os.kill(job.processes(WORKER, 2)[0], signal.SIGSTOP)
        status, errors = job.end()
    assert status == 1
    assert "its workers were lost (1 time; --max-failures 0)" in errors
    assert "--resume" in errors


def test_one_of_two_workers_hangs(tmp_path):
    alone = calm(tmp_path / "calm", *TWO)
    (tmp_path / "hung").mkdir()
    with Job(tmp_path / "hung", "distributed.cv", *TWO, **SOON) as job:
        job.epoch(0, 2)
        before = job.processes(WORKER, 2)
        os.kill(before[1], signal.SIGSTOP)
        job.event(finished(0))
        assert gone(before[1])
        status, errors = job.end()
    assert (status, errors) == (0, ""), job.told()
    whole(tmp_path / "hung", alone)


def test_a_ledger_that_hangs_is_started_again(tmp_path, reference):
    with Job(tmp_path, "distributed.cv", *LONG, **SOON) as job:
        job.epoch(0, 2)
        (hung,) = job.processes(LEDGER, 1)
        os.kill(hung, signal.SIGSTOP)
        wait(lambda: gone(hung), job, "the stopped process is still there")
        status, errors = job.end()
    assert (status, errors) == (0, ""), job.told()
    whole(tmp_path, reference)
