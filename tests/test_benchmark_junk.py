"""The benchmark of junk asks a real model, and counts what it rejects."""

import sys

import numpy as np
import pytest
import torch

from benchmarks import junk
from folds.errors import UserError
from folds.model.backbone import build
from folds.model.bundle import ModelCard, write_bundle
from folds.model.typicality import Typicality


def bundle(folder, typicality):
    card = ModelCard("test_resnet", tuple("0123456789"), 32)
    model = build("test_resnet", classes=10, size=32, dropout=0.0, pretrained=None, seed=0)
    write_bundle(folder, card, model.state_dict(), typicality=typicality)
    return folder


def asked(monkeypatch, folder):
    monkeypatch.setattr(
        sys, "argv",
        ["junk", "--model", str(folder), "--data", "digits", "--trained-on", "200",
         "--external", "other=digits", "--adapt", "none", "--tables", "1"],
    )  # fmt: skip
    junk.main()


def test_kinds_are_drawn_alike_and_all_differ():
    cells = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)
    first, again, other = (junk.junk(cells, seed, 2) for seed in (0, 0, 1))
    assert list(first) == list(junk.KINDS)
    for kind, drawn in first.items():
        assert (drawn.shape, drawn.dtype) == ((2, 40, 40, 3), np.uint8)
        np.testing.assert_array_equal(drawn, again[kind])
        assert not np.array_equal(drawn, other[kind]), kind


def test_a_row_for_each_place_with_the_kinds_as_columns(monkeypatch, tmp_path, capsys):
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((120, 3, 32, 32), np.float32))
    model = build("test_resnet", classes=10, size=32, dropout=0.0, pretrained=None, seed=0)
    with torch.inference_mode():
        _, features = model.eval().halfway(images)
    known = Typicality.fit(features.numpy(), rng.integers(0, 10, 120))
    asked(monkeypatch, bundle(tmp_path / "m", known))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    cells = [line.strip("| ").split(" | ") for line in lines]
    assert cells[0][4:] == list(junk.KINDS)
    assert [row[:2] for row in cells[2:]] == [["home", "none"], ["other", "none"]]
    assert all(0 <= float(cell) <= 100 for row in cells[2:] for cell in row[2:])


def test_a_model_that_does_not_know_is_named(monkeypatch, tmp_path):
    with pytest.raises(UserError, match="does not know what typical images are"):
        asked(monkeypatch, bundle(tmp_path / "m", None))
