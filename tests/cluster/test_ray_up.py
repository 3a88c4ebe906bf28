"""docs/how-to/cluster.md on two hosts: `ray up`, a run by `ray exec`, `ray down`.

It takes minutes: python -m pytest -m slow tests/cluster
"""

import pytest

from tests.cluster.launcher import MLFLOW

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_folds_are_trained_on_both_hosts_and_recorded_on_the_head(cluster, calm):
    assert "plan: 4 folds through 2 lanes of 1 CPU worker of 1 core" in calm
    runs = cluster.runs_of(cluster.summary("calm"))
    assert [run["status"] for run in runs] == ["FINISHED"] * 4
    assert {run["tags"]["crossfold.host"] for run in runs} == {"head", "worker"}


def test_images_code_and_results_are_on_the_head_alone(cluster, calm):
    assert (cluster.folder(cluster.head) / "cells.npz").exists()
    assert (cluster.folder(cluster.head) / "mlflow" / "mlflow.db").exists()
    there = {path.name for path in cluster.folder(cluster.worker).iterdir()}
    assert not there & {"cells.npz", "mlflow"}, there
    assert not (cluster.folder(cluster.worker) / "crossfold" / "calm").exists()


def test_servers_listen_on_the_loopback(cluster):
    """MLflow and Ray's dashboard have no password."""
    cluster.head.run("curl", "-sf", f"{MLFLOW}/health", timeout=60)  # there is no ray[default] here
    for port in (5000, 8265):
        refused = f"! curl -s --max-time 5 http://{cluster.head.address}:{port}/"
        cluster.desk.run("bash", "-c", refused, timeout=60)


def test_the_doctor_finds_both_hosts_well(cluster):
    said = cluster.exec(
        f"cd crossfold && python -m distributed.doctor --address auto --tracking-uri {MLFLOW}"
    )
    assert "broken" not in said


def test_ray_up_again_leaves_mlflow_and_its_runs_alone(cluster, calm):
    """As after a change of the code."""
    runs = cluster.runs_of(cluster.summary("calm"))
    cluster.ray("up", "-y", timeout=600)
    cluster.wait_for_nodes(2)
    assert cluster.runs_of(cluster.summary("calm")) == runs
