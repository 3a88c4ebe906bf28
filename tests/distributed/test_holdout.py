"""A table, groups by name and a test part through the whole main job."""

import json

import jsonschema
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

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
        "best_fold": (probabilities[best].argmax(axis=1) == labels).mean(),
        "ensemble": (probabilities.mean(axis=0).argmax(axis=1) == labels).mean(),
    }
    assert summary["holdout"]["images"] == len(labels)
    for name, value in accuracy.items():
        assert summary["holdout"][name]["accuracy"] == pytest.approx(value)
    assert (
        f"hold-out  {len(labels)} images: accuracy {accuracy['best_fold']:.3f} (best fold), "
        f"{accuracy['ensemble']:.3f} (folds averaged); never used for choosing"
    ) in done[1]


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


def test_its_scores_are_metrics_of_the_parent(done, summary):
    client = client_of(done[0])
    parent = client.get_run(summary["mlflow"]["parent_run"])
    for prefix, name in (("holdout", "best_fold"), ("holdout_ensemble", "ensemble")):
        for score, value in summary["holdout"][name].items():
            assert parent.data.metrics[f"{prefix}_{score}"] == pytest.approx(value)
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
