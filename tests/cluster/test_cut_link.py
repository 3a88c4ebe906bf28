"""The link to the worker's host cut while a fold is trained there, and restored."""

import json
import time

import numpy as np
import pytest

from tests.cluster.launcher import RUN

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def started_on(cluster, host):
    """Whether the journal of the run that is under way says that a fold has begun on a host."""
    runs = (cluster.folder(cluster.head) / "crossfold").glob(".crossfold/*/events.jsonl")
    events = [json.loads(line) for run in runs for line in run.read_text().splitlines()]
    return any(event["kind"] == "started" and event["host"] == host for event in events)


@pytest.mark.parametrize("lost", [False, True], ids=["shortly", "until the node counts as lost"])
def test_a_run_outlives_a_cut_link_with_the_same_scores(cluster, calm, lost):
    output = f"cut-{lost}"
    with cluster.begin(f"{RUN} --output {output}") as run:
        while not started_on(cluster, "worker"):
            assert run.poll() is None, run.stdout.read()
            time.sleep(0.1)
        cluster.network.cut(cluster.worker)
        try:
            if lost:
                cluster.wait_for_nodes(1)
            else:
                time.sleep(10)
        finally:
            cluster.network.mend(cluster.worker)
        said, _ = run.communicate(timeout=900)
        assert run.returncode == 0, said
    before, after = (cluster.probabilities(name) for name in ("calm", output))
    np.testing.assert_array_equal(before, after)
    runs = cluster.runs_of(cluster.summary(output))
    assert [each["status"] for each in runs] == ["FINISHED"] * 4
    cluster.wait_for_nodes(2)
