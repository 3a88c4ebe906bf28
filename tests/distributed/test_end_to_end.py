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
from sklearn.datasets import load_digits

from folds.evaluation.calibration import served
from folds.model.predictor import Predictor
from tracking.limits import DESCRIPTION
from tracking.report.card import description
from tracking.store import connect

SCHEMA = Path(__file__).parents[2] / "docs" / "summary.schema.json"
BASE = [
    "--data", "digits", "--limit", "120", "--folds", "2", "--backbone", "test_resnet",
    "--weights", "none", "--batch-size", "16",
]  # fmt: skip


def environment():
    drop = ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")
    return {k: v for k, v in os.environ.items() if k not in drop} | {"PYTHONUNBUFFERED": "1"}


def python(folder, module, *argv):
    """Run a command; one that hangs says in which line each of its threads is."""
    words = [sys.executable, "-m", module, *argv]
    with subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment() | {"PYTHONFAULTHANDLER": "1"},
    ) as process:  # fmt: skip
        try:
            out, told = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            out, told = process.communicate()
            pytest.fail(f"{words} hangs: {out}{told}")
    return subprocess.CompletedProcess(words, process.returncode, out, told)


def client_of(folder):
    uri = f"sqlite:///{folder}/mlflow.db"
    return mlflow.MlflowClient(uri, uri)


def elsewhere():
    """The last 60 digits as RGB images."""
    grey = (load_digits().images[-60:] * 15).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=3)


@pytest.fixture(scope="module")
def summary(done):
    return json.loads((done[0] / "out" / "summary.json").read_text())


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


def test_the_summary_fits_its_schema_and_its_files(done, summary):
    folder, _ = done
    jsonschema.validate(summary, json.loads(SCHEMA.read_text()))
    oof = np.load(folder / "out" / "oof.npz")
    splits = json.loads((folder / "out" / "splits.json").read_text())
    assert sorted(oof["ids"]) == sorted(row["id"] for row in splits["images"])
    assert len(np.unique(oof["ids"])) == 120
    assert splits["digest"] == summary["splits_digest"]
    np.testing.assert_allclose(oof["probabilities"].sum(axis=1), 1, atol=1e-5)
    right = (oof["probabilities"].argmax(axis=1) == oof["labels"]).mean()
    assert summary["oof"]["accuracy"] == pytest.approx(right)
    np.testing.assert_array_equal(oof["groups"], oof["ids"])
    shift = np.load(folder / "out" / "shift.npz")
    assert shift["predicted"].shape == (19, summary["oof_shift"]["images"])
    right = (shift["predicted"] == shift["labels"]).mean()
    assert summary["oof_shift"]["accuracy"] == pytest.approx(right)


def test_external_images_are_scored_by_each_fold_and_by_all(done, summary):
    found = np.load(done[0] / "out" / "external-lab2.npz")
    labels, probabilities = found["labels"], found["probabilities"]
    assert probabilities.shape == (2, 60, 10)
    assert {len(found[name]) for name in ("ids", "labels", "groups")} == {60}
    assert found["candidates"].tolist() == ["best-fold", "ensemble"]
    each = dict(zip(found["candidates"], found["candidate_probabilities"], strict=True))
    temperature = summary["calibration"]["temperature"]
    np.testing.assert_allclose(each["ensemble"], served(probabilities, temperature), atol=1e-7)
    alone = [served([fold], temperature) for fold in probabilities]
    assert any(np.array_equal(each["best-fold"], fold) for fold in alone)
    for kind, said in each.items():
        right = (said.argmax(axis=1) == labels).mean()
        scores = summary["external"]["lab2"]["models"][kind]
        assert scores["accuracy"] == pytest.approx(right)


def bundle_of(folder, model_id):
    """Where the store has the bundle of a logged model."""
    (found,) = [p for p in (folder / "mlruns").rglob("model.json") if model_id in p.parts]
    return found.parent


def test_the_registered_ensemble_predicts_the_mean_of_its_folds(done, client, summary):
    """Of bundles that were logged apart, each with the ensemble's temperature."""
    folder, _ = done
    temperature = summary["calibration"]["temperature"]
    members = []
    for fold in summary["folds"]:
        (model,) = client.get_run(fold["mlflow_run"]).outputs.model_outputs
        plain = Predictor(bundle_of(folder, model.model_id), "cpu").predict(elsewhere())
        powers = plain.astype(np.float64) ** (1 / temperature)
        members.append(powers / powers.sum(axis=1, keepdims=True))
    assert np.abs(members[0] - members[1]).max() > 1e-4
    connect(f"sqlite:///{folder}/mlflow.db")
    found = mlflow.pyfunc.load_model("models:/crossfold/1").predict(elsewhere())
    assert list(found) == ["predicted_class", *"0123456789", "prediction_set"]
    np.testing.assert_allclose(found.iloc[:, 1:-1], np.mean(members, axis=0), atol=1e-6)
    assert temperature != pytest.approx(1)


def test_the_version_says_where_it_is_from(done, client, summary):
    version = client.get_model_version("crossfold", "1")
    parent = summary["mlflow"]["parent_run"]
    assert (
        version.tags.items()
        >= {
            "crossfold.run": parent,
            "crossfold.candidate": "ensemble",
            "crossfold.splits_digest": summary["splits_digest"],
            "crossfold.data_digest": summary["data_digest"],
        }.items()
    )
    card = bundle_of(done[0], version.source.rsplit("/", 1)[-1]) / "MODEL_CARD.md"
    first, _, rest = version.description.partition("\n")
    assert first.startswith(f"macro-F1 {summary['oof']['macro_f1']:.3f} (")
    assert description(card.read_text(), DESCRIPTION, "").endswith(rest)
    about = client.get_registered_model("crossfold").description
    assert "python -m tracking.promote" in about
    assert "lab2" in version.description
    assert f"{summary['oof']['macro_f1']:.3f}" in version.description
    registered = summary["registered"]
    assert (registered["kind"], registered["version"]) == ("ensemble", "1")


def test_the_report_is_there_twice_and_tells_of_this_run(done, client, summary):
    page = (done[0] / "out" / "report.html").read_text()
    parent = client.get_run(summary["mlflow"]["parent_run"])
    kept = client.download_artifacts(parent.info.run_id, "report.html", str(done[0]))
    assert Path(kept).read_text() == page
    assert summary["name"] in page
    assert "--external lab2=lab2.npz" in page
    assert "version 1" in page
    described = parent.data.tags["mlflow.note.content"]
    assert "| **all pooled** |" in described
    assert "external  lab2" in described


def test_nothing_is_left_behind(done):
    assert {path.name for path in done[0].iterdir()} >= {"mlflow.db", "mlruns", "out"}
    assert not (done[0] / ".crossfold").exists()


def test_one_parent_and_one_child_a_fold_are_finished(done, client, summary):
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

    def curve(run, key):
        return {
            point.step: point.value for point in client.get_metric_history(run.info.run_id, key)
        }

    each = [curve(fold, "val_loss") for fold in folds]
    mean = {step: sum(one[step] for one in each) / 2 for step in (1, 2)}
    assert curve(parents[0], "folds/val_loss/mean") == pytest.approx(mean)
    names = {file.path for file in client.list_artifacts(folds[0].info.run_id)}
    assert {"confusion.png", "curves.png"} <= names
    assert folds[0].data.params["batch_size"] == "16"
    above = {file.path for file in client.list_artifacts(parents[0].info.run_id)}
    assert above == {
        "augmentation.png", "audit.csv", "confusion.png", "external-lab2.npz", "oof.npz",
        "report.html", "settings.json", "shift.npz", "splits.json", "summary.json",
    }  # fmt: skip


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
    assert list(rows[0]) == ["id", "predicted_class", *"0123456789", "prediction_set"]
    assert len(rows) == 1797
    for row in rows[:20]:
        chances = [float(row[name]) for name in "0123456789"]
        assert sum(chances) == pytest.approx(1, abs=1e-4)
        assert int(row["predicted_class"]) == int(np.argmax(chances))


def test_the_same_splits_again_give_the_same_scores_without_shift_too(done):
    folder, _ = done
    ran = python(
        folder, "distributed.cv", *BASE, "--stages", "1:2:1e-3", "--shift", "off",
        "--splits", "out/splits.json", "--output", "again:ok:", "--concurrent-folds", "1",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "files     again:ok:\n" in ran.stdout  # no emoji
    first, second = (
        np.load(folder / name / "oof.npz")["probabilities"] for name in ("out", "again:ok:")
    )
    np.testing.assert_allclose(first, second, atol=1e-3)
    summary = json.loads((folder / "again:ok:" / "summary.json").read_text())
    jsonschema.validate(summary, json.loads(SCHEMA.read_text()))
    assert summary["registered"]["version"] == "2"
    assert (summary["oof_shift"], summary["external"]) == (None, {})
    assert not (folder / "again:ok:" / "shift.npz").exists()
    assert "\nshift " not in ran.stdout


def _heed_ctrl_c():
    """As in a terminal: what a shell starts in the background ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupted_run_goes_on_to_the_same_result_and_its_refit(done, tmp_path):
    stages = ["--stages", "1:2:1e-3", "--concurrent-folds", "1", "--output", "out"]
    stages += ["--candidate", "refit", "--shift", "off", "--learning-curve", "0.5"]
    process = subprocess.Popen(
        [sys.executable, "-m", "distributed.cv", *BASE, *stages],
        cwd=tmp_path, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=_heed_ctrl_c,
    )  # fmt: skip
    for line in process.stdout:
        if line.split()[:3] == ["fold", "1", "finished:"]:
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
    other = python(tmp_path, "distributed.cv", "--resume", "--learning-curve", "0.6")
    assert other.returncode == 2
    assert "leave out --learning-curve" in other.stderr
    again = python(tmp_path, "distributed.cv", "--resume")
    assert again.returncode == 0, again.stdout + again.stderr
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    kinds = sorted(run.data.tags["crossfold.kind"] for run in runs)
    assert kinds == ["fold", "fold", "parent", "refit"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert len(summary["folds"]) == 2
    assert [point["images"] for point in summary["learning_curve"]["points"]] == [30, 60]
    steps = client.get_metric_history(parent.info.run_id, "learning_curve/macro_f1")
    assert [point.step for point in steps] == [30, 60]
    (refit,) = [run for run in runs if run.data.tags["crossfold.kind"] == "refit"]
    best = [fold["kept_epoch"] for fold in summary["folds"]]
    assert (
        len(client.get_metric_history(refit.info.run_id, "train_loss"))
        == round(np.mean(best) - 1) + 1
    )
    assert summary["registered"]["kind"] == "refit"
    version = client.get_model_version("crossfold", "1")
    assert version.tags["crossfold.candidate"] == "refit"
    first, second = (
        np.load(folder / "out" / "oof.npz")["probabilities"] for folder in (done[0], tmp_path)
    )
    np.testing.assert_allclose(first, second, atol=1e-3)
    assert not (tmp_path / ".crossfold").exists()
