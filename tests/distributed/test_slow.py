"""The whole main job on the demo and on real images; minutes each."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import mlflow
import pytest

from tests.distributed.test_end_to_end import BASE, environment, python

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SHARED = Path(__file__).parents[3] / "shared"


def summary_of(folder):
    return json.loads((folder / "out" / "summary.json").read_text())


@pytest.mark.parametrize("seed", range(5))
def test_the_demo_is_learnt_and_hard(tmp_path, seed):
    ran = python(
        tmp_path, "distributed.cv", "--recipe", "demo", "--seed", str(seed), "--output", "out"
    )
    assert ran.returncode == 0, ran.stderr
    summary = summary_of(tmp_path)
    home = summary["oof"]["macro_f1"]
    assert 0.90 <= home <= 0.97
    assert summary["oof_shift"]["macro_f1"] < home - 0.1
    assert summary["external"]["lab2"]["models"]["ensemble"]["macro_f1"] < home - 0.1


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real images of ../shared")
def test_real_blood_cells_with_real_weights(tmp_path):
    ran = python(
        tmp_path, "distributed.cv", "--data", str(SHARED / "data" / "pbc96"), "--limit", "2000",
        "--folds", "5", "--backbone", "mobilenetv2_100",
        "--weights", str(SHARED / "weights" / "mobilenetv2_100.safetensors"),
        "--image-size", "96", "--batch-size", "64", "--stages", "0:3:1e-3", "1:5:5e-4",
        "--output", "out",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert summary_of(tmp_path)["oof"]["accuracy"] >= 0.93
    assert python(tmp_path, "tracking.promote").returncode == 0
    ran = python(
        tmp_path, "tracking.predict", "--data", str(SHARED / "data" / "an2dl_like.npz"),
        "--out", "preds.csv",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert len(list(csv.DictReader((tmp_path / "preds.csv").open()))) == 820


class Server:
    """A real MLflow server on loopback that can go away and come back."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.uri = folder, f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port",
             str(self.port), "--backend-store-uri", f"sqlite:///{self.folder}/server.db",
             "--artifacts-destination", str(self.folder / "files"), "--workers", "1"],
            start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while not self.answers():
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.5)

    def answers(self):
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=1):
            return True
        return False

    def stop(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def test_a_server_that_goes_away_for_a_while_misses_nothing(tmp_path):
    server = Server(tmp_path)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "distributed.cv", *BASE, "--stages", "1:6:1e-3",
             "--tracking-uri", server.uri, "--output", "out"],
            cwd=tmp_path, env=environment(), text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        told = []
        for line in process.stdout:
            told.append(line)
            if "epoch 2/6" in line and server.answers():
                server.stop()
            if line.startswith("notice: the tracker does not take events"):
                server.start()
        process.wait(timeout=300)
        assert process.returncode == 0, process.stderr.read()
        assert any("does not take events" in line for line in told)
        client = mlflow.MlflowClient(server.uri, server.uri)
        runs = client.search_runs([summary_of(tmp_path)["mlflow"]["experiment_id"]])
        assert {run.info.status for run in runs} == {"FINISHED"}
        for run in runs:
            if run.data.tags["crossfold.kind"] == "fold":
                points = client.get_metric_history(run.info.run_id, "val_loss")
                assert [point.step for point in points] == [1, 2, 3, 4, 5, 6]
    finally:
        server.stop()
