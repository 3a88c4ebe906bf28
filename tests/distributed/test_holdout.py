"""A table, groups, a test part, another head and test-time augmentation: the whole main job."""

import json
import re

import jsonschema
import mlflow
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from folds.evaluation.metrics import scores
from folds.model.predictor import Predictor
from tests.distributed.test_end_to_end import SCHEMA, client_of, python


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """180 digits in files named after 60 patients, and a table of them."""
    folder = tmp_path_factory.mktemp("holdout")
    (folder / "scans").mkdir()
    digits, lines = load_digits(), ["path,label"]
    rows = np.flatnonzero(digits.target < 3)[:180]
    for number, row in enumerate(rows.tolist()):
        name = f"scans/p{number // 3:02d}-{number}.png"
        Image.fromarray((digits.images[row] * 15).astype(np.uint8)).save(folder / name)
        lines.append(f"{name},digit {digits.target[row]}")
    (folder / "scans.csv").write_text("\n".join(lines))
    ran = python(
        folder, "distributed.cv", "--data", "scans.csv", "--group-regex", r"(p\d+)-",
        "--holdout", "0.2", "--folds", "2", "--backbone", "test_resnet", "--weights", "none",
        "--batch-size", "16", "--stages", "1:2:1e-2", "--output", "out",
        "--tta", "flips", "--val-augment", "rand", "--head-layers", "24,12", "--head-norm", "layer",
        "--candidate", "best-fold",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder, ran.stdout


@pytest.fixture(scope="module")
def summary(done):
    return json.loads((done[0] / "out" / "summary.json").read_text())


def test_the_test_part_is_scored_by_the_best_fold_and_by_all(done, summary):
    jsonschema.validate(summary, json.loads(SCHEMA.read_text()))
    found = np.load(done[0] / "out" / "holdout.npz")
    labels, probabilities = found["labels"], found["probabilities"]
    assert probabilities.shape == (2, len(labels), 3)
    best = summary["registered"]["fold"]
    accuracy = {
        "best-fold": (probabilities[best].argmax(axis=1) == labels).mean(),
        "ensemble": (probabilities.mean(axis=0).argmax(axis=1) == labels).mean(),
    }
    assert summary["holdout"]["images"] == len(labels)
    for kind, value in accuracy.items():
        assert summary["holdout"]["models"][kind]["accuracy"] == pytest.approx(value)
    told = []
    for kind in ("best-fold", "ensemble"):
        found = summary["holdout"]["intervals"][kind]["accuracy"]
        assert found["low"] <= accuracy[kind] <= found["high"]
        told.append(f"{accuracy[kind]:.3f} ({found['low']:.3f} to {found['high']:.3f}) {kind}")
    line = f"hold-out  {len(labels)} images: accuracy (95% interval) {', '.join(told)}; "
    assert line + "never used for choosing" in done[1]


def test_no_fold_has_seen_it_or_its_patients(done):
    folder = done[0] / "out"
    held_out = set(np.load(folder / "holdout.npz")["ids"].tolist())
    seen = set(np.load(folder / "oof.npz")["ids"].tolist())
    assert len(held_out) + len(seen) == 180
    assert 30 <= len(held_out) <= 42
    patients = [{name[6:9] for name in part} for part in (held_out, seen)]
    assert not patients[0] & patients[1]
    assert len(patients[0] | patients[1]) == 60
    assert "images of each class" in done[1]


def test_averages_over_views_are_scored_beside_the_plain_predictions(done, summary):
    found = np.load(done[0] / "out" / "oof.npz")
    right = found["probabilities"].argmax(axis=1) == found["labels"]
    assert summary["oof"]["accuracy"] == pytest.approx(right.mean())
    sizes = [(found["fold"] == fold).sum() for fold in range(2)]
    client = client_of(done[0])
    metrics = client.get_run(summary["mlflow"]["parent_run"]).data.metrics
    for view, name in (("tta", "TTA flips"), ("augmented", "augmented")):
        each = [fold["other_views"][view]["accuracy"] for fold in summary["folds"]]
        told = summary["oof_other_views"][view]
        assert told["accuracy"] == pytest.approx(np.average(each, weights=sizes))
        assert told["log_loss"] != summary["oof"]["log_loss"]
        assert re.search(rf"{name} .* {told['accuracy']:.3f} ", done[1])
        assert metrics[f"oof_{view}_log_loss"] == pytest.approx(told["log_loss"])
    for fold in summary["folds"]:
        metrics = client.get_run(fold["mlflow_run"]).data.metrics
        assert metrics["tta_accuracy"] == pytest.approx(fold["other_views"]["tta"]["accuracy"])
        assert metrics["accuracy"] == pytest.approx(fold["scores"]["accuracy"])


def test_the_registered_model_averages_over_them_too(done, summary):
    uri = f"sqlite:///{done[0]}/mlflow.db"
    model = mlflow.MlflowClient(uri, uri).get_model_version("crossfold", "1")
    (card,) = [
        path for path in (done[0] / "mlruns").rglob("model.json")
        if model.source.rsplit("/", 1)[-1] in str(path)
    ]  # fmt: skip
    predictor = Predictor(card.parent, "cpu")
    assert (predictor.card.tta, predictor.card.head.layers) == ("flips", (24, 12))
    fold = summary["folds"][summary["registered"]["fold"]]
    found = np.load(done[0] / "out" / "oof.npz")
    rows = found["fold"] == fold["fold"]
    images = np.stack(
        [np.asarray(Image.open(done[0] / name).convert("RGB")) for name in found["ids"][rows]]
    )
    temperature = predictor.card.temperature
    assert temperature == pytest.approx(summary["calibration"]["temperature"])
    plain = predictor.predict(images).astype(np.float64) ** temperature
    got = scores(found["labels"][rows], plain / plain.sum(axis=1, keepdims=True))
    assert got["log_loss"] == pytest.approx(fold["other_views"]["tta"]["log_loss"], abs=1e-4)


def test_its_scores_are_metrics_of_the_parent(done, summary):
    client = client_of(done[0])
    parent = client.get_run(summary["mlflow"]["parent_run"])
    for kind in ("best-fold", "ensemble"):
        for score, value in summary["holdout"]["models"][kind].items():
            assert parent.data.metrics[f"holdout/{kind}/{score}"] == pytest.approx(value)
    artifacts = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"holdout.npz", "oof.npz", "splits.json"} <= artifacts


def test_the_splits_are_taken_again_with_it_or_refused(done):
    folder = done[0]
    base = [
        "--data", "scans.csv", "--folds", "2", "--backbone", "test_resnet", "--weights", "none",
        "--splits", "out/splits.json", "--plan",
    ]  # fmt: skip
    again = python(folder, "distributed.cv", *base, "--holdout", "0.2")
    assert again.returncode == 0, again.stderr
    without = python(folder, "distributed.cv", *base)
    assert without.returncode == 2
    assert "pass --holdout 0." in without.stderr
