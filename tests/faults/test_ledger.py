"""The ledger's process is killed: it comes back from the run's folder, and the lanes go on."""

import pytest

from distributed.workspace import Workspace
from tests.faults.faults import LEDGER, LONG, SHARED, WORKER, Job, gone, kill, wait, whole

pytestmark = pytest.mark.slow


def test_a_killed_ledger_comes_back_and_no_lane_notices(tmp_path, reference):
    with Job(tmp_path, "distributed.cv", *LONG) as job:
        job.epoch(0, 2)
        (before,) = job.processes(LEDGER, 1)
        workers = job.processes(WORKER, 2)
        kill(before)
        wait(lambda: gone(before), job, "it lives")
        job.epoch(0, 6)
        assert job.processes(WORKER, 2) == workers
        assert job.processes(LEDGER, 1) != [before]
        status, errors = job.end()
    assert (status, errors) == (0, ""), job.told()
    whole(tmp_path, reference)


def test_killed_again_and_again_it_gives_no_fold_twice(tmp_path, reference):
    with Job(tmp_path, "distributed.cv", *LONG) as job:
        for number in (1, 4, 8):
            job.epoch(0, number)
            kill(*job.processes(LEDGER, 1))
        status, errors = job.end()
    assert (status, errors) == (0, ""), job.told()
    whole(tmp_path, reference)


def test_features_that_it_kept_are_computed_again(tmp_path, weights, shared_reference):
    with Job(tmp_path, "distributed.cv", *SHARED, "--weights", str(weights)) as job:
        job.epoch(0, 2)
        kill(*job.processes(LEDGER, 1))
        job.epoch(0, 31)
        assert Workspace(job.space).checkpoint(0).exists()
        status, errors = job.end()
    assert (status, errors) == (0, ""), job.told()
    whole(tmp_path, shared_reference, epochs=32)
