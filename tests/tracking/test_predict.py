"""``tracking.predict``: every file is predicted, or counted."""

import csv
import sys

import mlflow
import numpy as np
import pytest
from PIL import Image

from folds import cli
from folds.model.backbone import build
from folds.model.bundle import ModelCard, Predictor, write_bundle
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
