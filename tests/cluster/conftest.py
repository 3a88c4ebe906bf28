"""One cluster of two hosts for all tests of this folder."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tests.cluster import hosts
from tests.cluster.launcher import RUN, Cluster, bring

IMAGES = 240


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """`ray up` has been run, both hosts have joined, and the images are on the head alone."""
    hosts.skip_where_impossible()
    folder = tmp_path_factory.mktemp("cluster")
    grey = (load_digits().images[:IMAGES] * 15).astype(np.uint8)
    images = np.repeat(grey[..., None], 3, axis=3)
    np.savez(folder / "cells.npz", images=images, labels=load_digits().target[:IMAGES])
    with hosts.network(folder, ["desk", "head", "worker"], {}) as network:
        made = Cluster(network, *network.hosts)
        bring(folder / "desk", made.head, [made.worker], folder / "cells.npz")
        made.ray("up", "-y", timeout=600)
        made.wait_for_nodes(2)
        made.ray("rsync-up", "../cells.npz", "~/cells.npz")
        yield made


@pytest.fixture(scope="session")
def calm(cluster):
    """What a run printed that nothing disturbed; its output is in ``calm``."""
    return cluster.exec(f"{RUN} --output calm", timeout=600)
