from dataclasses import replace
from itertools import pairwise

import pytest
import yaml

from folds.model.bundle import ModelCard
from folds.model.licence import licence_of
from tracking.report.card import CardFacts, model_card
from tracking.report.facts import (
    Calibration,
    Candidate,
    ClassScores,
    Estimate,
    Origin,
    Report,
    Run,
    ScoreRow,
    Shift,
    ShiftCase,
)

NAMES = ("basophil", "eosinophil")
SCORES = {"accuracy": Estimate(0.95, 0.93, 0.97), "macro_f1": Estimate(0.94)}


def facts(**changed):
    run = Run("try", "cells.npz", 500, NAMES, "test_resnet", 5, "2026-11-21")
    bundle = ModelCard("test_resnet", NAMES, 32, tta="flips", members=5, temperature=1.25)
    plain = CardFacts("ensemble", "cells", bundle, "random", Report(run, {}))
    return replace(plain, **changed)


def full():
    every = Estimate(0.9, 0.8, 0.95)
    plain = facts()
    report = Report(
        replace(plain.report.run, repeats=2),
        SCORES | {"roc_auc": Estimate(float("nan"))},
        elsewhere=[ScoreRow("hospital B", "ensemble", 70, {"accuracy": Estimate(0.61)})],
        candidates=[Candidate("soup", SCORES, "out of fold")],
        calibration=Calibration(1.25, before=None, scores={"ece": Estimate(0.02)}),
        classes=[ClassScores("basophil", 480, every, every, every)],
        shift=Shift(
            100, {"accuracy": 0.95}, {"accuracy": Estimate(0.7), "macro_f1": Estimate(0.68)},
            [ShiftCase("brightness", 3, 0.9, 0.9), ShiftCase("impulse noise", 3, 0.459, 0.4)],
        ),
        origin=Origin(config={"batch_size": 16}, versions={"torch": "2.15"}),
    )  # fmt: skip
    return replace(
        plain, report=report, weights="hub:test_resnet", licence="apache-2.0", groups=40,
        counts={"basophil": 480, "eosinophil": 20}, external=True, why="It was best under shift.",
    )  # fmt: skip


def front(card):
    _, head, rest = card.split("---\n", 2)
    return yaml.safe_load(head), rest


def test_it_tells_everything_that_is_known():
    head, text = front(model_card(full()))
    assert head["license"] == "apache-2.0"
    assert head["base_model"] == "timm/test_resnet"
    for told in (
        "0.950 (0.930 to 0.970)", "It was best under shift.", "hospital B", "0.610", "1.250",
        "Under impulse noise (severity 3) only 45.9%", "Fewer than 30 images of eosinophil",
        "40 groups", "divided into 5 folds, 2 times", "under apache-2.0", "| torch | 2.15 |",
        "| ROC AUC | - |", "| soup | out of fold | 0.950 (0.930 to 0.970) | 0.940 | - |",
    ):  # fmt: skip
        assert told in text, told


def test_what_is_unknown_is_left_out_or_said():
    card = model_card(facts())
    head, text = front(card)
    assert "license" not in head
    for said in (
        "No groups of images", "not scored on images of another", "not scored on corrupted",
        "No pretrained weights were used",
    ):  # fmt: skip
        assert said in text
    for absent in (
        "## Scores",
        "## Calibration",
        "## Corrupted",
        "## Candidates",
        "## How it came",
    ):
        assert absent not in text
        assert absent in model_card(full())
    assert "None" not in card
    assert "nan" not in card.split()


@pytest.mark.parametrize("made", [facts, full])
def test_tables_are_whole(made):
    """Each line of a table has as many cells as the one above it, and a blank line goes before."""
    lines = ["", *model_card(made()).splitlines()]
    for above, line in pairwise(lines):
        if line.startswith("|") and above.startswith("|"):
            assert line.count("|") == above.count("|"), line
        elif line.startswith("|"):
            assert above == "", line
    assert "\n\n\n" not in "\n".join(lines)


def test_a_licence_that_is_not_stated_is_called_so():
    assert "(file:a.pt:1234) is not stated" in model_card(facts(weights="file:a.pt:1234"))
    assert licence_of("test_resnet", "hub:test_resnet") == "apache-2.0"
    assert licence_of("test_resnet", "file:a.pt:1234") is None
    assert licence_of("test_resnet", "random") is None


def test_names_cannot_become_markup():
    nasty = "<script>alert(1)</script>|[a](javascript:b)\n# heading"
    run = replace(facts().report.run, source=nasty, class_names=(nasty, "b"))
    bundle = replace(facts().bundle, class_names=(nasty, "b"))
    card = model_card(facts(bundle=bundle, report=Report(run, {}), counts={nasty: 5}))
    assert "<script>" not in card
    assert "[a](" not in card
    assert "\n# heading" not in card
    assert "\\|" in card


@pytest.mark.parametrize("kind", ["best-fold", "ensemble", "soup", "refit"])
def test_each_kind_is_explained(kind):
    text = model_card(facts(kind=kind))
    assert f"# cells: {kind}" in text
    assert ("has seen\n  the images of all folds" in text) == (kind != "best-fold")
