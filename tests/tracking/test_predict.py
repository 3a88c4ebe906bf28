"""``tracking.predict``: every file is predicted, or counted."""

import csv
import sys

import mlflow
import numpy as np
import pytest
import torch
from PIL import Image

from folds import cli
from folds.evaluation.selective import Point
from folds.model.backbone import build
from folds.model.bundle import ModelCard, write_bundle
from folds.model.decision import Decision
from folds.model.predictor import Predictor
from folds.model.typicality import Typicality
from tests.folds.images.encodings import marked, png16, turned
from tracking import predict
from tracking.models import log_model


@pytest.fixture
def model(store, tmp_path):
    """A model that takes 4095 as white."""
    card = ModelCard("test_resnet", ("dark", "bright"), 32, levels=4095.0)
    network = build("test_resnet", classes=2, size=32, dropout=0.0, pretrained=None, seed=1)
    write_bundle(tmp_path / "bundle", card, network.state_dict())
    with mlflow.start_run(experiment_id=mlflow.create_experiment("e", store.artifact_root)):
        return f"models:/{log_model(tmp_path / 'bundle', name='m')}"


@pytest.fixture
def folder(tmp_path):
    """What lies in a folder that is to be predicted."""
    folder = tmp_path / "new"
    folder.mkdir()
    marked().save(folder / "a.png")
    (folder / "b.jpg").write_bytes(turned(marked().resize((80, 50)), 6))
    (folder / "deep.png").write_bytes(png16(np.full((20, 20, 1), 2000, np.uint16)))
    marked().save(folder / "c.gif")
    marked().save(folder / "d.jfif", "JPEG")
    (folder / "e.dcm").write_bytes(bytes(128) + b"DICM")
    return folder


def run(monkeypatch, *argv):
    monkeypatch.setattr(sys, "argv", ["predict", *argv])
    return cli.run(predict.main)


def test_files_are_predicted_as_the_model_does_and_the_others_counted(
    model, folder, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "found.csv"
    asked = ("--model", model, "--data", str(folder), "--out", str(out))
    assert run(monkeypatch, *asked) == 0
    told = capsys.readouterr()
    assert "3 files skipped: 1 file is .dcm, 1 file is .gif, 1 file is .jfif; read are" in told.err
    assert "3 predictions" in told.out
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    paths = [str(folder / row["id"]) for row in rows]
    assert [row["id"] for row in rows] == ["a.png", "b.jpg", "deep.png"]
    wanted = Predictor(tmp_path / "bundle", "cpu").predict({"path": paths})
    found = [[float(row["dark"]), float(row["bright"])] for row in rows]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_broken_file_is_named_with_a_remedy_that_the_command_has(
    model, folder, tmp_path, monkeypatch, capsys
):
    (folder / "empty.png").write_bytes(b"")
    out = tmp_path / "found.csv"
    asked = ("--model", model, "--data", str(folder), "--out", str(out))
    assert run(monkeypatch, *asked) == 2
    line = capsys.readouterr().err
    assert "1 of 4 image files cannot be read (empty.png)" in line
    assert "--skip-broken" in line
    assert not out.exists()
    assert run(monkeypatch, *asked, "--skip-broken") == 0
    told = capsys.readouterr()
    assert "1 unreadable file left out: empty.png" in told.err
    assert "3 predictions" in told.out


def test_values_below_0_are_told_with_a_remedy(model, folder, tmp_path, monkeypatch, capsys):
    Image.new("F", (9, 9), -50.0).save(folder / "f.tif")
    assert run(monkeypatch, "--model", model, "--data", str(folder)) == 2
    assert "f.tif has values below 0 (-50); save them with values from 0" in capsys.readouterr().err


@pytest.fixture
def unsure_model(store, tmp_path):
    """A model that knows when it is unsure: from 0.5 on, or nearly never, is right."""
    bundle = tmp_path / "unsure"
    card = ModelCard("test_resnet", ("dark", "bright"), 32)
    network = build("test_resnet", classes=2, size=32, dropout=0.0, pretrained=None, seed=1)
    write_bundle(bundle, card, network.state_dict())
    curve = (Point(1.0, 0.1, 1.0, 0.99), Point(0.0, 1.0, 0.9, 0.85))
    Decision(("dark", "bright"), "out-of-fold", 0.9, (0.0, 1.0), (False, False), curve).write(
        bundle
    )
    with mlflow.start_run(experiment_id=mlflow.create_experiment("u", store.artifact_root)):
        return f"models:/{log_model(bundle, name='u')}"


def rows_of(out):
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_model_that_knows_when_it_is_unsure_says_so(
    unsure_model, folder, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "found.csv"
    asked = ("--model", unsure_model, "--data", str(folder), "--out", str(out))
    assert run(monkeypatch, *asked) == 0
    plain = rows_of(out)
    assert {row["prediction_set"] for row in plain} == {"dark"}
    assert run(monkeypatch, *asked, "--abstain", "0.8") == 0
    assert rows_of(out) == plain
    assert "abstained from 0 of 3: 0.900 right (at least 0.850)" in capsys.readouterr().out
    assert run(monkeypatch, *asked, "--abstain", "0.95") == 0
    assert rows_of(out) == [row | {"predicted_class": ""} for row in plain]


def test_an_accuracy_out_of_reach_is_refused_with_the_best(
    unsure_model, folder, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "found.csv"
    asked = ("--model", unsure_model, "--data", str(folder), "--out", str(out))
    assert run(monkeypatch, *asked, "--abstain", "0.995") == 2
    line = capsys.readouterr().err
    assert "no threshold is sure to reach it" in line
    assert "ask for 0.99 or less" in line
    assert not out.exists()


def test_a_model_without_evidence_cannot_abstain(model, folder, tmp_path, monkeypatch, capsys):
    asked = ("--model", model, "--data", str(folder), "--out", str(tmp_path / "x.csv"))
    assert run(monkeypatch, *asked, "--abstain", "0.9") == 2
    assert "does not know how often it is right" in capsys.readouterr().err


def test_costs_choose_another_answer(model, folder, tmp_path, monkeypatch, capsys):
    out, costs = tmp_path / "found.csv", tmp_path / "costs.yaml"
    asked = ("--model", model, "--data", str(folder), "--out", str(out), "--costs", str(costs))
    costs.write_text("dark: {bright: 1000000}")
    assert run(monkeypatch, *asked) == 0
    assert {row["predicted_class"] for row in rows_of(out)} == {"dark"}
    costs.write_text("bright: {dark: 1000000}")
    assert run(monkeypatch, *asked) == 0
    assert {row["predicted_class"] for row in rows_of(out)} == {"bright"}
    costs.write_text("black: {dark: 2}")
    assert run(monkeypatch, *asked) == 2
    assert "there is no class 'black'" in capsys.readouterr().err


@pytest.fixture
def knowing_model(store, tmp_path, folder):
    """A model that the files of the folder are typical of, but the dark one."""
    bundle, card = tmp_path / "knowing", ModelCard("test_resnet", ("dark", "bright"), 32)
    network = build("test_resnet", classes=2, size=32, dropout=0.0, pretrained=None, seed=1).eval()
    rng = np.random.default_rng(0)
    near = torch.from_numpy(rng.random((200, 3, 1, 1), np.float32) / 4 + 0.5).expand(-1, -1, 32, 32)
    with torch.inference_mode():
        _, features = network.halfway(near)
    known = Typicality.fit(features.numpy(), rng.integers(0, 2, 200))
    write_bundle(bundle, card, network.state_dict(), typicality=known)
    Image.new("RGB", (40, 40), (150, 140, 160)).save(folder / "like.png")
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / "noise.png")
    with mlflow.start_run(experiment_id=mlflow.create_experiment("k", store.artifact_root)):
        return f"models:/{log_model(bundle, name='k')}"


def test_what_is_like_no_class_is_not_answered(
    knowing_model, folder, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "found.csv"
    asked = ("--model", knowing_model, "--data", str(folder), "--out", str(out))
    assert run(monkeypatch, *asked) == 0
    plain = {row["id"]: row for row in rows_of(out)}
    assert float(plain["like.png"]["typicality"]) > 0.05
    found = {name: float(row["typicality"]) for name, row in plain.items()}
    assert found["noise.png"] < 0.01, found
    capsys.readouterr()
    assert run(monkeypatch, *asked, "--reject", "0.01") == 0
    answers = {row["id"]: row["predicted_class"] for row in rows_of(out)}
    assert answers["like.png"] == plain["like.png"]["predicted_class"]
    assert answers["noise.png"] == ""
    told = capsys.readouterr().out
    assert f"none of these: {list(answers.values()).count('')} of {len(answers)} are unlike" in told
    found = mlflow.pyfunc.load_model(knowing_model)
    assert found.metadata.get_output_schema().input_names()[-1] == "typicality"


@pytest.mark.parametrize(
    ("level", "line"),
    [
        ("0", "--reject 0.0: must be between 0 and 1, as 0.01"),
        ("0.01", "does not know what typical images are; it takes a best-fold or an ensemble"),
    ],
)
def test_a_level_or_a_model_that_cannot_reject_is_refused(
    model, folder, tmp_path, monkeypatch, capsys, level, line
):
    out = tmp_path / "x.csv"
    asked = ("--model", model, "--data", str(folder), "--out", str(out), "--reject", level)
    assert run(monkeypatch, *asked) == 2
    assert line in capsys.readouterr().err
    assert not out.exists()
