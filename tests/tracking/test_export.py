import sys

import mlflow
import numpy as np
import pytest
import torch

from folds.errors import UserError
from folds.model.backbone import build
from folds.model.bundle import ModelCard, write_bundle
from folds.model.predictor import Predictor
from tracking import export
from tracking.models import log_model


@pytest.fixture
def command(store, monkeypatch):
    def run(*words):
        words = ["export", *map(str, words), "--tracking-uri", store.uri]
        monkeypatch.setattr(sys, "argv", words)
        export.main()

    return run


def test_a_registered_model_becomes_a_file(store, bundle, images, tmp_path, command, capsys):
    with mlflow.start_run(experiment_id=mlflow.create_experiment("e", store.artifact_root)):
        mlflow.register_model(f"models:/{log_model(bundle, name='fold-1')}", "cells")
    out = tmp_path / "model.pt2"
    command("--model", "models:/cells/1", "--to", "pt2", "--out", out)
    assert f"models:/cells/1 is in {out}" in capsys.readouterr().out
    small = images[:, :32, :32]
    found = torch.export.load(out).module()(torch.from_numpy(small)).numpy(force=True)
    np.testing.assert_allclose(found, Predictor(bundle, "cpu").predict(small), atol=1e-4)


def test_a_model_that_is_not_there_is_refused(store, command, tmp_path):
    with pytest.raises(UserError, match=r"cannot be loaded.*models:/NAME@champion"):
        command("--model", "models:/nobody@champion", "--to", "pt2", "--out", tmp_path / "m.pt2")


def test_a_folder_that_is_not_there_is_refused(command, tmp_path):
    with pytest.raises(UserError, match=r"--out .*: no folder .*; make it"):
        command("--out", tmp_path / "nowhere" / "m.onnx")


def test_eight_bits_say_what_they_cost(store, tmp_path, command, capsys):
    pytest.importorskip("onnxruntime", reason="crossfold[export] is not there")
    card = ModelCard("test_resnet", tuple("0123456789"), 32)
    network = build("test_resnet", classes=10, size=32, dropout=0.0, pretrained=None, seed=1)
    write_bundle(tmp_path / "digits", card, network.state_dict())
    with mlflow.start_run(experiment_id=mlflow.create_experiment("d", store.artifact_root)):
        model = f"models:/{log_model(tmp_path / 'digits', name='d')}"
    out = tmp_path / "int8.onnx"
    command("--model", model, "--out", out, "--int8", "digits")
    assert "images of digits" in capsys.readouterr().out
    assert out.stat().st_size > 10_000
    with pytest.raises(UserError, match="--int8 demo: class 'basophil' is none of those"):
        command("--model", model, "--out", out, "--int8", "demo")
    with pytest.raises(UserError, match="--int8 with --to pt2: is for onnx"):
        command("--model", model, "--out", out, "--int8", "digits", "--to", "pt2")
