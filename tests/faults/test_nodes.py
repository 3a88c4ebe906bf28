"""A machine of the cluster is lost, or is about to be taken away."""

import io
import os
import signal
import subprocess

import pytest
import torch

from distributed.workspace import Workspace
from tests.distributed.test_end_to_end import environment
from tests.faults.faults import (
    LONG, SHARED, WORKER, Job, finished, gone, kill, wait, whole,
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
