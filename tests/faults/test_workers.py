"""A worker is killed in the middle of an epoch."""

import pytest

from tests.faults.faults import (
    LONG,
    WORKER,
    Job,
    below,
    calm,
    finished,
    gone,
    kill,
    wait,
    whole,
)

pytestmark = pytest.mark.slow
TWO = [*LONG, "--workers-per-fold", "2", "--concurrent-folds", "1"]


def test_a_killed_worker_costs_its_lane_an_epoch_and_the_others_nothing(tmp_path, reference):
    with Job(tmp_path, "distributed.cv", *LONG) as job:
        for task in (0, 1):
            job.epoch(task, 2)
        killed, other = job.processes(WORKER, 2)
        kill(killed)
        wait(lambda: gone(killed), job, "it lives")
        job.event(lambda event: finished(0)(event) or finished(1)(event))
        assert not gone(other)  # has trained its fold to the end
        wait(lambda: set(below(job.process.pid, WORKER)) - {killed, other}, job, "no new worker")
        status, errors = job.end()
    assert (status, errors) == (0, ""), job.told()
    whole(tmp_path, reference)


def test_one_of_two_workers_is_killed_and_both_start_again(tmp_path):
    alone = calm(tmp_path / "calm", *TWO)
    (tmp_path / "lost").mkdir()
    with Job(tmp_path / "lost", "distributed.cv", *TWO) as job:
        job.epoch(0, 2)
        before = job.processes(WORKER, 2)
        kill(before[1])
        wait(lambda: all(map(gone, before)), job, "the other goes on alone")
        status, errors = job.end()
    assert (status, errors) == (0, ""), job.told()
    whole(tmp_path / "lost", alone)


def test_what_cares_for_the_workers_of_a_lane_is_killed(tmp_path, reference):
    with Job(tmp_path, "distributed.cv", *LONG) as job:
        for task in (0, 1):
            job.epoch(task, 2)
        kill(job.processes("ray::TrainController", 2)[0])
        status, errors = job.end()
    assert (status, errors) == (0, ""), job.told()
    whole(tmp_path, reference)
