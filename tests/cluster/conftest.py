"""One cluster of two hosts for all tests of this folder."""

import pytest

from tests.cluster.launcher import RUN, raised


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """`ray up` has been run, both hosts have joined, and the images are on the head alone."""
    with raised(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture(scope="session")
def calm(cluster):
    """What a run printed that nothing disturbed; its output is in ``calm``."""
    return cluster.exec(f"{RUN} --output calm", timeout=600)
