"""The end of the cluster: `ray down`; a cluster of its own, since nothing is left of it."""

import time

import pytest

from tests.cluster.launcher import raised

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
LEFT_S = 120  # Ray stops the head; the raylet of a worker ends when no head has answered for 60 s


def of_ray(host):
    return [line for line in host.processes() if "raylet" in line or "gcs_server" in line]


def test_ray_down_ends_ray_on_both_hosts_and_keeps_what_mlflow_has(tmp_path_factory):
    with raised(tmp_path_factory.mktemp("down")) as cluster:
        database = cluster.folder(cluster.head) / "mlflow" / "mlflow.db"
        assert database.exists()
        assert of_ray(cluster.head)
        cluster.ray("down", "-y")
        assert of_ray(cluster.head) == []
        until = time.monotonic() + LEFT_S
        while left := of_ray(cluster.worker):
            assert time.monotonic() < until, left
            time.sleep(1)
        assert database.exists()
        cluster.ray("up", "-y", timeout=600)
        cluster.wait_for_nodes(2)
