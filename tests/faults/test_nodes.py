"""A machine of the cluster is lost, or is about to be taken away."""

import signal
import subprocess

import pytest
import torch

from distributed.workspace import Workspace
from tests.distributed.test_end_to_end import environment
from tests.faults.faults import (
    LONG,
    SHARED,
    WORKER,
    Job,
    calm,
    finished,
    kill,
    wait,
    whole,
)  # fmt: skip
from tests.faults.nodes import ALONE, RAY, cluster
from tracking.events import EpochEnded

pytestmark = pytest.mark.slow


def job_on(folder, address, *words):
    return Job(folder, "distributed.cv", *words, "--address", address, **ALONE)


def test_the_folds_of_a_lost_node_go_on_elsewhere(tmp_path, reference):
    with cluster(1, 1) as (address, (head, other)), job_on(tmp_path, address, *LONG) as job:
        for task in (0, 1):
            job.epoch(task, 2)
        assert len(head.processes(WORKER)) == len(other.processes(WORKER)) == 1
        kill(other.raylet)
        status, errors = job.end()
    assert (status, errors) == (0, ""), job.told()
    whole(tmp_path, reference)


def test_shared_features_outlive_the_node(tmp_path, weights, shared_reference):
    words = [*SHARED, "--weights", str(weights), "--folds", "2"]
    with cluster(1, 1) as (address, (_, other)), job_on(tmp_path, address, *words) as job:
        for task in (0, 1):
            job.epoch(task, 2)
        kill(other.raylet)
        status, errors = job.end()
    assert (status, errors) == (0, ""), job.told()
    whole(tmp_path, shared_reference, epochs=32)


def test_a_finished_fold_is_not_trained_again(tmp_path):
    words = [*LONG, "--folds", "3", "--stages", "1:6:1e-3"]
    with cluster(1, 1) as (address, (_, other)), job_on(tmp_path, address, *words) as job:
        job.event(finished(0))
        job.event(finished(1))
        kept = [Workspace(job.space).fold(task) / "result.npz" for task in (0, 1)]
        before = [path.stat().st_mtime_ns for path in kept]
        kill(other.raylet)
        job.epoch(2, 6)
        assert [path.stat().st_mtime_ns for path in kept] == before
        status, errors = job.end()
    assert (status, errors) == (0, ""), job.told()


@pytest.mark.parametrize("notice", ["drain", "SIGTERM"])
def test_before_a_node_is_taken_away_a_checkpoint_is_written(tmp_path, notice):
    """There would be none before the end."""
    words = [*LONG, "--stages", "1:40:1e-3", "--patience", "40", "--checkpoint-every", "100"]
    alone = calm(tmp_path / "calm", *words)
    (tmp_path / "run").mkdir()
    with cluster(1, 1) as (address, (_, other)), job_on(tmp_path / "run", address, *words) as job:
        for task in (0, 1):
            job.epoch(task, 3)
        there = [Workspace(job.space).checkpoint(task) for task in (0, 1)]
        assert not any(path.exists() for path in there)
        before = [epochs_of(job, task) for task in (0, 1)]
        if notice == "drain":
            drain(address, other)
        else:  # to `ray start --block`, as a container's
            other.process.send_signal(signal.SIGTERM)
        wait(lambda: all(path.exists() for path in there), job, "no checkpoint", 20)
        kill(other.raylet)
        saved = [torch.load(path, weights_only=True)["epoch"] for path in there]
        assert all(one >= two for one, two in zip(saved, before, strict=True))
        status, errors = job.end()
    assert (status, errors) == (0, ""), job.told()
    whole(tmp_path / "run", alone, epochs=40)


def epochs_of(job, task):
    return sum(isinstance(event, EpochEnded) and event.task == task for event in job.journal())


def drain(address, node):
    """Tell Ray that a node has half a minute left, as a cloud's notice does."""
    subprocess.run(
        [RAY, "drain-node", "--address", address, "--node-id", node.id, "--reason",
         "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "a test",
         "--deadline-remaining-seconds", "30"],
        env=environment() | ALONE, check=True, capture_output=True,
    )  # fmt: skip
