"""The main job in a process of its own, as a user runs it, in an empty folder."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import mlflow
import numpy as np
import pytest

SCHEMA = Path(__file__).parents[2] / "docs" / "summary.schema.json"
BASE = [
    "--data", "digits", "--limit", "120", "--folds", "2", "--backbone", "test_resnet",
    "--weights", "none", "--batch-size", "16",
]  # fmt: skip


def environment():
    drop = ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")
    return {k: v for k, v in os.environ.items() if k not in drop} | {"PYTHONUNBUFFERED": "1"}


def python(folder, module, *argv):
    return subprocess.run(
        [sys.executable, "-m", module, *argv],
        cwd=folder, capture_output=True, text=True, env=environment(), timeout=300,
    )  # fmt: skip


def client_of(folder):
    uri = f"sqlite:///{folder}/mlflow.db"
    return mlflow.MlflowClient(uri, uri)


@pytest.fixture(scope="module")
def client(done):
    return client_of(done[0])


def test_the_screen_is_quiet_and_tells_what_to_do_next(done):
    _, ran = done
    assert ran.stderr == ""
    assert "all pooled" in ran.stdout
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db" in ran.stdout
    assert "python -m tracking.promote --model-name crossfold" in ran.stdout
    assert "\x1b" not in ran.stdout


def test_the_summary_fits_its_schema_and_its_files(done):
    folder, _ = done
    summary = json.loads((folder / "out" / "summary.json").read_text())
    jsonschema.validate(summary, json.loads(SCHEMA.read_text()))
    oof = np.load(folder / "out" / "oof.npz")
    splits = json.loads((folder / "out" / "splits.json").read_text())
    assert sorted(oof["ids"]) == sorted(row["id"] for row in splits["images"])
    assert len(np.unique(oof["ids"])) == 120
    assert splits["digest"] == summary["splits_digest"]
    np.testing.assert_allclose(oof["probabilities"].sum(axis=1), 1, atol=1e-5)
    right = (oof["probabilities"].argmax(axis=1) == oof["labels"]).mean()
    assert summary["oof"]["accuracy"] == pytest.approx(right)


def test_nothing_is_left_behind(done):
    assert {path.name for path in done[0].iterdir()} >= {"mlflow.db", "mlruns", "out"}
    assert not (done[0] / ".crossfold").exists()


def test_one_parent_and_one_child_a_fold_are_finished(done, client):
    summary = json.loads((done[0] / "out" / "summary.json").read_text())
    runs = client.search_runs([summary["mlflow"]["experiment_id"]])
    parents = [run for run in runs if run.data.tags["crossfold.kind"] == "parent"]
    folds = [run for run in runs if run.data.tags["crossfold.kind"] == "fold"]
    assert len(parents) == 1
    assert len(folds) == 2
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in folds} == {parents[0].info.run_id}
    metrics = parents[0].data.metrics
    assert metrics["oof_accuracy"] == pytest.approx(summary["oof"]["accuracy"])
    history = client.get_metric_history(folds[0].info.run_id, "val_loss")
    assert sorted(point.step for point in history) == [1, 2]
    names = {file.path for file in client.list_artifacts(folds[0].info.run_id)}
    assert {"confusion.png", "curves.png"} <= names
    assert folds[0].data.params["batch_size"] == "16"
    above = {file.path for file in client.list_artifacts(parents[0].info.run_id)}
    assert {"confusion.png", "augmentation.png", "summary.json"} <= above


def test_the_model_is_promoted_and_predicts(done, client):
    folder, _ = done
    uri = f"sqlite:///{folder}/mlflow.db"
    assert str(client.get_model_version_by_alias("crossfold", "candidate").version) == "1"
    moved = python(folder, "tracking.promote", "--tracking-uri", uri)
    assert moved.returncode == 0, moved.stderr
    assert str(client.get_model_version_by_alias("crossfold", "champion").version) == "1"
    ran = python(folder, "tracking.predict", "--data", "digits", "--out", "preds.csv")
    assert ran.returncode == 0, ran.stderr
    rows = list(csv.DictReader((folder / "preds.csv").open()))
    assert list(rows[0]) == ["id", "predicted_class", *"0123456789"]
    assert len(rows) == 1797
    for row in rows[:20]:
        chances = [float(row[name]) for name in "0123456789"]
        assert sum(chances) == pytest.approx(1, abs=1e-4)
        assert int(row["predicted_class"]) == int(np.argmax(chances))


def test_the_same_splits_again_give_the_same_scores(done):
    folder, _ = done
    ran = python(
        folder, "distributed.cv", *BASE, "--stages", "1:2:1e-3",
        "--splits", "out/splits.json", "--output", "again", "--concurrent-folds", "1",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    first, second = (
        np.load(folder / name / "oof.npz")["probabilities"] for name in ("out", "again")
    )
    np.testing.assert_allclose(first, second, atol=1e-3)
    registered = json.loads((folder / "again" / "summary.json").read_text())["registered"]
    assert registered["version"] == "2"


def test_an_interrupted_run_goes_on_to_the_same_result(done, tmp_path):
    stages = ["--stages", "1:2:1e-3", "--concurrent-folds", "1", "--output", "out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "distributed.cv", *BASE, *stages],
        cwd=tmp_path, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("fold 1  finished"):
            process.send_signal(signal.SIGINT)
            break
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "--resume" in errors
    assert "Traceback" not in errors
    client = client_of(tmp_path)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    parent = next(run for run in runs if run.data.tags["crossfold.kind"] == "parent")
    assert parent.info.status == "KILLED"

    other = python(tmp_path, "distributed.cv", "--resume", "--batch-size", "8")
    assert other.returncode == 2
    assert "--batch-size would change its results" in other.stderr
    again = python(tmp_path, "distributed.cv", "--resume")
    assert again.returncode == 0, again.stdout + again.stderr
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert len(runs) == 3
    assert {run.info.status for run in runs} == {"FINISHED"}
    first, second = (
        np.load(folder / "out" / "oof.npz")["probabilities"] for folder in (done[0], tmp_path)
    )
    np.testing.assert_allclose(first, second, atol=1e-3)
    assert not (tmp_path / ".crossfold").exists()
