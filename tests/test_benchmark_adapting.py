"""The benchmark of adapting draws the tables it says, and tells what a model makes of them."""

import sys

import numpy as np
import pytest
import torch

from benchmarks import adapting
from benchmarks.inputs import places
from folds.adaptation import appearance_of
from folds.augment import to_input
from folds.config import DataConfig
from folds.images import load
from folds.model.backbone import build
from folds.model.bundle import ModelCard, write_bundle

LABELS = np.repeat([0, 1, 2, 3], [200, 150, 100, 20])


@pytest.mark.parametrize("seed", range(4))
def test_tables_are_as_their_names_say(seed):
    drawn = {
        kind: draw(np.random.default_rng(seed), LABELS) for kind, draw in adapting.TABLES.items()
    }
    assert all(len(np.unique(rows)) == len(rows) for rows in drawn.values())
    counts = {kind: np.sort(np.bincount(LABELS[rows])) for kind, rows in drawn.items()}
    assert [len(drawn[kind]) for kind in ("400 images", "40 images", "16 images")] == [400, 40, 16]
    assert counts["nine in ten of one class"][-1] == 9 * (
        counts["nine in ten of one class"][:-1].sum()
    )
    assert (counts["two classes"] > 0).sum() == 2
    assert (counts["one class"] > 0).sum() == 1


def test_a_row_for_each_table_of_each_place(monkeypatch, tmp_path, capsys):
    images = load(DataConfig(data="digits"), seed=0, largest=32)
    looks = appearance_of(
        [to_input(torch.from_numpy(np.asarray(images.pixels[:200])), 32)], [0.1] * 10
    )
    card = ModelCard("test_resnet", images.class_names, 32, appearance=looks)
    model = build("test_resnet", classes=10, size=32, dropout=0.0, pretrained=None, seed=0)
    write_bundle(tmp_path, card, model.state_dict())
    monkeypatch.setattr(
        sys, "argv",
        ["adapting", "--model", str(tmp_path), "--data", "digits", "--trained-on", "200",
         "--external", "other=digits", "--adapt", "none", "bn", "--tables", "2"],
    )  # fmt: skip
    found = places(card, adapting.parser().parse_args())
    assert len(found["home"].labels) == len(images) - 200
    assert len(found["other"].labels) == len(images)
    adapting.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    rows = [line.strip("| ").split(" | ") for line in lines[2:]]
    assert [row[:2] for row in rows] == [
        [place, kind] for place in ("home", "other") for kind in adapting.TABLES
    ]
    refused = {row[1]: row[4] for row in rows if row[0] == "home"}
    assert refused["16 images"] == "0 2"  # of none, and of bn: too few images
