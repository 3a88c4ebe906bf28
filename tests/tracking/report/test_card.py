from dataclasses import replace
from itertools import pairwise

import pytest
import yaml

from folds.model.bundle import ModelCard
from folds.model.licence import licence_of
from tests.tracking.report.planted import UNKNOWN, near, scores, shift, slices, told
from tracking.limits import DESCRIPTION
from tracking.report.card import FILE, description, headline, model_card
from tracking.summary_parts import CandidateSummary, Missing, ScoredOn

NAMES = ("basophil", "eosinophil")
BUNDLE = ModelCard("test_resnet", NAMES, 32, tta="flips", members=5, temperature=1.25)


def plain(**changed):
    usual = {
        "weights": "random",
        "holdout": None,
        "class_images": dict.fromkeys(NAMES, 250),
        "registered": told().registered.model_copy(update={"name": "cells"}),
    }
    return told(NAMES, **usual | changed)


def full():
    config = plain().config | {"repeats": 2, "batch_size": 16}
    soup = CandidateSummary(
        kind="soup", members=1, evidence="out of fold", value=0.9,
        scores=scores(0.95, macro_f1=0.94, log_loss=0.2),
    )  # fmt: skip
    corrupted = shift(("brightness", "impulse noise"))
    worse = corrupted.cases[1].model_copy(update={"accuracy": 0.459})
    return plain(
        config=config,
        oof_intervals=plain().oof_intervals | {"accuracy": near(0.95, 0.02), "roc_auc": UNKNOWN},
        external={"hospital B": ScoredOn(images=70, models={"ensemble": scores(0.61)})},
        candidates=[soup],
        oof_shift=corrupted.model_copy(update={"cases": [corrupted.cases[0], worse]}),
        weights="hub:test_resnet",
        groups=40,
        class_images={"basophil": 480, "eosinophil": 20},
    )


def front(card):
    _, head, rest = card.split("---\n", 2)
    return yaml.safe_load(head), rest


def test_it_tells_everything_that_is_known():
    head, text = front(model_card(full(), BUNDLE))
    assert head["license"] == "apache-2.0"
    assert head["base_model"] == "timm/test_resnet"
    for words in (
        "0.950 (0.930 to 0.968)", "It was chosen of 1 candidates: its macro-F1 is the best.",
        "hospital B", "0.610", "1.250", "Under impulse noise (severity 3) only 45.9%",
        "Fewer than 30 images of eosinophil", "40 groups", "divided into 2 folds, 2 times",
        "under apache-2.0", "| torch | 2.15.0 |", "| batch\\_size | 16 |", "| ROC AUC | - |",
        "| soup | out of fold | 0.950 | 0.940 | 0.200 |", "| run | cells-strong, 2026-11-21 |",
    ):  # fmt: skip
        assert words in text, words


def test_what_is_unknown_is_left_out_or_said():
    unknown = dict.fromkeys(("date", "class_images", "groups", "software"))
    card = model_card(plain(**unknown), BUNDLE)
    head, text = front(card)
    assert "license" not in head
    for said in (
        "No groups of images", "not scored on images of another", "not scored on corrupted",
        "No pretrained weights were used",
    ):  # fmt: skip
        assert said in text
    for absent in ("## Corrupted", "Of other images", "| class | images |\n", "| torch |"):
        assert absent not in text
        assert absent in model_card(full(), BUNDLE)
    assert "None" not in text.partition("## How it came about")[0]
    assert "nan" not in card.split()


@pytest.mark.parametrize("made", [plain, full])
def test_tables_are_whole(made):
    """Each line of a table has as many cells as the one above it, and a blank line goes before."""
    lines = ["", *model_card(made(), BUNDLE).splitlines()]
    for above, line in pairwise(lines):
        if line.startswith("|") and above.startswith("|"):
            assert line.count("|") == above.count("|"), line
        elif line.startswith("|"):
            assert above == "", line
    assert "\n\n\n" not in "\n".join(lines)


def test_a_licence_that_is_not_stated_is_called_so():
    card = model_card(plain(weights="file:a.pt:1234"), BUNDLE)
    assert "(file:a.pt:1234) is not stated" in card
    assert licence_of("test_resnet", "hub:test_resnet") == "apache-2.0"
    assert licence_of("test_byobnet", "demo:12345678") == "apache-2.0"
    assert licence_of("test_resnet", "file:a.pt:1234") is None
    assert licence_of("test_resnet", "random") is None


def test_names_cannot_become_markup():
    nasty = "<script>alert(1)</script>|[a](javascript:b)\n# heading"
    summary = plain(config=plain().config | {"data": nasty}, class_images={nasty: 5})
    card = model_card(summary, replace(BUNDLE, class_names=(nasty, "b")))
    assert "<script>" not in card
    assert "[a](" not in card
    assert "\n# heading" not in card
    assert "\\|" in card


@pytest.mark.parametrize("kind", ["best-fold", "ensemble", "soup", "refit", "student"])
def test_each_kind_is_explained(kind):
    registered = plain().registered.model_copy(update={"kind": kind})
    text = model_card(plain(registered=registered), BUNDLE)
    assert f"# cells: {kind}" in text
    assert ("has seen\n  the images of all folds" in text) == (kind != "best-fold")


@pytest.mark.parametrize("letters", [6, 300])
@pytest.mark.parametrize("classes", [2, 40, 1000])
def test_the_description_fits_and_says_where_the_whole_card_is(classes, letters):
    names = tuple(f"class_{number} ".ljust(letters, "x").strip() for number in range(classes))
    run = told(names, class_images=dict.fromkeys(names, 5), weights="hub:test_resnet")
    card = model_card(run, replace(BUNDLE, class_names=names))
    text = description(card, DESCRIPTION, "macro-F1 0.9")
    assert 1000 < len(text) <= DESCRIPTION
    assert text.startswith("macro-F1 0.9\n\n# ")
    assert text.endswith(f"The whole card is {FILE} among the files of the model.")
    for part in ("## Intended use", "## Scores", "| accuracy |"):
        assert part in text
    assert all(line.endswith("|") for line in text.splitlines() if line.startswith("|"))


def test_the_command_in_it_can_be_pasted_whatever_the_name():
    run = plain(registered=told().registered.model_copy(update={"name": "o'brien $x"}))
    assert "serve -m 'models:/o'\"'\"'brien $x@champion' --env" in model_card(run, BUNDLE)


def test_a_partial_run_is_told_before_all_else_also_in_the_description():
    missing = Missing(name="fold 2", repeat=0, fold=1, images=40, cause="its loss <b>is</b> nan")
    card = model_card(plain(missing=[missing]), BUNDLE)
    (_, text), words = front(card), "> **Partial:** fold 2 is missing; scores are of "
    assert text.index(words) < text.index("An image classifier")
    assert "fold 2: its loss &lt;b&gt;is&lt;/b&gt; nan" in text.replace("\\", "")
    assert words in description(card, DESCRIPTION, "macro-F1 0.9")
    assert "Partial" not in model_card(plain(), BUNDLE)


def test_slices_are_tables_whose_worst_is_named():
    text = model_card(plain(slices={"site": slices("a|b", "c", "d", worst="c")}), BUNDLE)
    assert "By site, of which c is the worst" in text
    assert "| a\\|b | 40 | 0.900 (0.893 to 0.906) | 0.800 (0.793 to 0.806) |" in text
    assert text.index("| d | 3 |") < text.index("| c | 40 |")
    assert "By site" not in model_card(plain(), BUNDLE)


def test_a_line_says_what_a_table_of_versions_shows():
    summary = full()
    first = headline(summary)
    assert first.startswith("macro-F1 0.")
    assert " to " in first
    assert first.endswith(f" out of fold: {summary.registered.kind}")
    text = description(model_card(summary, BUNDLE), DESCRIPTION, first)
    assert text.splitlines()[:2] == [first, ""]
