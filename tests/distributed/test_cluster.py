from pathlib import Path

import yaml

from distributed import cluster
from distributed.planning.plan import Resources

ROOT = Path(__file__).parents[2]


def test_workers_that_are_not_started_yet_count(tmp_path, monkeypatch):
    """`ray up cluster.yaml` begins with no GPU worker; the plan must know what may come."""
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    (tmp_path / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("HOME", str(tmp_path))
    worker = next(
        kind for name, kind in config["available_node_types"].items()
        if name != config["head_node_type"]
    )  # fmt: skip
    most = cluster._launched_with()
    assert most["GPU"] == worker["max_workers"] * worker["resources"]["GPU"] > 0


def test_elsewhere_only_what_is_there_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cluster._launched_with() == {}


def test_a_joined_cluster_has_what_ray_says(local_ray, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cluster.cluster_resources() == Resources(2, 0, (2,))


def test_the_flag_wins_over_the_variable(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert cluster.address_of("auto") == "auto"
    assert cluster.address_of(None) == "10.0.0.1:6379"
    monkeypatch.delenv("RAY_ADDRESS")
    assert cluster.address_of(None) is None


def test_a_driver_that_joins_sends_the_token_that_the_machine_has(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster.os, "environ", {"HOME": str(tmp_path), "RAY_DEDUP_LOGS": "1"})
    cluster.set_environment("10.0.0.1:6379")
    assert "RAY_AUTH_MODE" not in cluster.os.environ
    assert cluster.os.environ["RAY_DEDUP_LOGS"] == "1"  # what the user has set stays
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    cluster.set_environment(None)
    assert "RAY_AUTH_MODE" not in cluster.os.environ
    cluster.set_environment("10.0.0.1:6379")
    assert cluster.os.environ["RAY_AUTH_MODE"] == "token"
