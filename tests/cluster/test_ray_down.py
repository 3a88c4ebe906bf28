"""The end of the cluster: `ray down`; a cluster of its own, since nothing is left of it."""

import pytest

from tests.cluster.launcher import raised

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_ray_down_ends_ray_on_both_hosts_and_keeps_what_mlflow_has(tmp_path_factory):
    with raised(tmp_path_factory.mktemp("down")) as cluster:
        database = cluster.folder(cluster.head) / "mlflow" / "mlflow.db"
        assert database.exists()
        cluster.ray("down", "-y")
        for host in (cluster.head, cluster.worker):
            left = [line for line in host.processes() if "raylet" in line or "gcs_server" in line]
            assert left == [], host.name
        assert database.exists()
        cluster.ray("up", "-y", timeout=600)
        cluster.wait_for_nodes(2)
