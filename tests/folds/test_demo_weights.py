"""The weights that the demo starts from: small, of other cells, and a help."""

import sys

import numpy as np
import pytest

from folds import cli, demo_weights
from folds.audit.suspects import find_suspects, read_predictions
from folds.config import Config, recipes
from folds.errors import UserError
from folds.images import demo
from folds.model.weights import DEMO_BACKBONE, DEMO_WEIGHTS, load_pretrained
from folds.prepare import prepare
from folds.runtime.device import Runtime
from folds.splits.manifest import fingerprint
from folds.training.fit import fit_fold


def test_are_of_this_project_and_of_none_of_the_images_of_the_demo():
    found = load_pretrained(DEMO_BACKBONE, "demo")
    assert found.source.startswith("demo:")
    assert found.trained_on
    assert not found.saw(fingerprint(demo.load()))
    assert not found.saw(fingerprint(demo.load_lab2()))


def test_are_small():
    assert DEMO_WEIGHTS.stat().st_size < 1e6


def test_of_another_backbone_are_refused_with_the_remedy():
    with pytest.raises(UserError, match=f"use --backbone {DEMO_BACKBONE}, or other weights"):
        load_pretrained("resnet10t", "demo")


def test_the_kinds_are_the_same_every_time_and_not_the_demos():
    first, second = demo_weights.strangers(5, 4), demo_weights.strangers(5, 4)
    assert first.digest == second.digest
    assert first.counts == {f"kind{kind:02d}": 4 for kind in range(5)}
    assert not set(first.class_names) & set(demo.NAMES)


def test_the_command_writes_what_a_run_can_start_from(tmp_path, monkeypatch, capsys):
    path = tmp_path / "w.safetensors"
    argv = ["--kinds", "4", "--each", "24", "--epochs", "1", "--out", str(path)]
    monkeypatch.setattr(sys, "argv", ["demo_weights", *argv])
    assert cli.run(demo_weights.main) == 0
    assert "accuracy" in capsys.readouterr().out
    assert load_pretrained(DEMO_BACKBONE, str(path)).trained_on


@pytest.fixture(scope="module")
def heads():
    """Heads alone, trained on the recipe's five folds."""
    settings = recipes.read("demo") | {"stages": ["0:4:1e-2"], "shift": "off"}
    problem = prepare(Config.from_flat(settings)).problem
    runtime = Runtime.choose("cpu", "fp32")
    return problem, [fit_fold(problem, 0, fold, runtime=runtime) for fold in range(5)]


def test_wrong_labels_are_ranked_first(heads, tmp_path):
    problem, results = heads
    rows = np.concatenate([result.rows for result in results])
    np.savez(
        tmp_path / "oof.npz",
        ids=problem.images.ids[rows],
        labels=problem.images.labels[rows],
        probabilities=np.concatenate([result.probabilities for result in results]),
    )
    suspects = find_suspects(read_predictions(tmp_path))
    first = np.char.find(suspects.ids[: demo.MISLABELLED], "/wrong-") >= 0
    assert first.mean() >= 0.75


def test_another_laboratorys_cells_are_harder(heads):
    _, results = heads
    home = np.mean([result.scores["accuracy"] for result in results])
    lab2 = np.mean([result.measured["external.lab2.accuracy"] for result in results])
    assert home > 0.6
    assert lab2 < home - 0.03
