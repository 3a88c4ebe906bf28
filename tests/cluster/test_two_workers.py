"""A fold shared by two workers on different hosts: gloo between them."""

import numpy as np
import pytest

from tests.cluster.launcher import RUN

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
SHORT = RUN.replace("1:40:", "1:3:")  # an epoch takes seconds


def trains(host):
    return any("RayTrainWorker" in line for line in host.processes())


def test_scores_are_those_of_one_worker(cluster):
    """Batch norm sees the whole batch, so that nothing but rounding differs."""
    cluster.exec(f"{SHORT} --output narrow", timeout=600)
    with cluster.begin(f"{SHORT} --workers-per-fold 2 --sync-bn --output wide") as run:
        both = False
        said = ""
        for line in run.stdout:
            said += line
            both |= "fold 1 " in line and trains(cluster.head) and trains(cluster.worker)
    assert run.returncode == 0, said
    assert both, said
    assert "plan: 4 folds through 1 lane of 2 CPU workers of 1 core" in said
    before, after = (cluster.probabilities(name) for name in ("narrow", "wide"))
    np.testing.assert_allclose(before, after, atol=1e-3)
