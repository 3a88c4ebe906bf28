import html
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from folds.errors import RunError
from tests.tracking.report.planted import SCORES, planted, shift
from tests.tracking.report.reader import Reader
from tracking.report import write_report
from tracking.report.facts import Estimate, FeatureMap, Fold, Origin, Report, Run

PARTS = [
    "scores", "candidates", "folds", "curves", "confusion", "calibration", "classes", "shift",
    "mistakes", "unsure", "augmentation", "map", "origin",
]  # fmt: skip
EVIL = "<script>alert('1')</script>\"&"


@pytest.fixture(scope="module")
def full():
    return planted()


@pytest.fixture
def written(tmp_path):
    def write(report):
        write_report(tmp_path / "a/report.html", report)
        return (tmp_path / "a/report.html").read_text(encoding="utf-8")

    return write


class TestParts:
    def test_all_are_there_in_order(self, full, written):
        found = Reader(written(full))
        assert list(found.sections) == PARTS
        assert found.sections["mistakes"] == min(24, full.mistakes.total)
        assert found.sections["unsure"] == 24
        assert found.text.count("95.1%") >= 2

    @pytest.mark.parametrize(
        ("absent", "section"),
        [
            ({"candidates": ()}, "candidates"),
            ({"confusion": None}, "confusion"),
            ({"calibration": None}, "calibration"),
            ({"classes": ()}, "classes"),
            ({"shift": None}, "shift"),
            ({"mistakes": None}, "mistakes"),
            ({"unsure": None}, "unsure"),
            ({"augmentation": None}, "augmentation"),
            ({"map": None}, "map"),
            ({"origin": Origin()}, "origin"),
            ({"scores": {}, "elsewhere": ()}, "scores"),
        ],
    )
    def test_what_is_absent_leaves_no_trace(self, full, written, absent, section):
        text = written(replace(full, **absent))
        assert list(Reader(text).sections) == [name for name in PARTS if name != section]
        assert f'href="#{section}"' not in text

    def test_without_histories_there_are_no_curves(self, full, written):
        folds = [replace(fold, history=()) for fold in full.folds]
        assert "curves" not in Reader(written(replace(full, folds=folds))).sections

    def test_nothing_but_a_name(self, full, written):
        found = Reader(written(Report(run=replace(full.run, notices=()), scores={})))
        assert found.sections == {}
        assert "cells-strong" in found.text

    def test_scores_without_intervals_or_not_defined(self, full, written):
        scores = {"accuracy": Estimate(0.9), "roc_auc": Estimate(float("nan"))}
        one = replace(full.classes[0], f1=Estimate(float("nan"), float("nan"), float("nan")))
        report = replace(full, scores=scores, classes=[one, *full.classes[1:]], gap=None)
        text = written(report)
        assert "nan" not in Reader(text).text.lower()
        assert "nan%" not in text

    def test_one_epoch_and_one_fold(self, full, written):
        epoch = {"epoch": 0, "stage": 0, "train_loss": 1.0, "val_loss": 1.0, "val_macro_f1": 0.5}
        fold = Fold("fold 1", 1, 1, {"macro_f1": 0.5}, 0.0, [epoch])
        assert "curves" in Reader(written(replace(full, folds=[fold], gap=None))).sections

    def test_severities_make_a_heat_map(self, full, written):
        severe = replace(full, shift=shift(severities=(1, 2, 3, 4, 5)))
        assert '<table class="heat">' in written(severe)
        assert '<table class="bars">' in written(full)

    def test_points_without_mistakes(self, full, written):
        places = FeatureMap(full.map.places, full.map.labels)
        assert "ringed" not in written(replace(full, map=places))


class TestWhole:
    def test_it_loads_nothing(self, full, written):
        text = written(full)
        found = Reader(text)
        assert len(found.asked) > 60
        assert all(value.startswith(("data:image/", "#")) for value in found.asked)
        assert not set(found.tags) & {"link", "iframe", "object", "embed", "base", "form"}
        assert "http" not in re.sub(r"data:image/[^\"]*", "", text)
        assert "@import" not in text
        assert all(url.startswith("#") for url in re.findall(r"url\(([^)]*)", text))

    def test_names_are_no_markup(self, written):
        names = [EVIL, *(f"class {number}" for number in range(7))]
        ids = np.array([f"{EVIL}{row}" for row in range(400)])
        report = planted(names=names, ids=ids, corruptions=("jpeg", EVIL))
        folds = [replace(fold, name=EVIL) for fold in report.folds]
        origin = Origin(EVIL, {EVIL: EVIL}, {EVIL: EVIL}, {EVIL: EVIL}, {EVIL: EVIL})
        run = replace(report.run, name=EVIL, source=EVIL, notices=[EVIL])
        text = written(replace(report, run=run, folds=folds, origin=origin))
        assert Reader(text).tags.count("script") == 1
        assert text.count("alert(") == text.count("&lt;script&gt;alert(")
        assert EVIL in Reader(text).text

    def test_it_can_be_read_aloud(self, full, written):
        found = Reader(written(full))
        assert found.wordless == 0
        assert found.headings[0] == 1
        assert found.headings.count(1) == 1
        steps = np.diff(found.headings)
        assert steps.max() == 1
        assert len(found.ids) == len(set(found.ids))
        assert found.tags.count("svg") == 4

    @pytest.mark.parametrize("classes", [2, 40, 120])
    def test_few_and_many_classes(self, written, classes):
        found = Reader(written(planted(classes, 1200)))
        assert list(found.sections) == PARTS
        assert ("counts" in found.text) == (classes <= 100)
        assert "Most frequent confusions" in found.text

    def test_small_and_always_the_same(self, written):
        report = planted(8, 5000)
        text = written(report)
        assert len(text) < 3_000_000
        assert text == written(report)

    def test_a_place_that_cannot_be_written_to(self, full, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(RunError, match="cannot be written"):
            write_report(tmp_path / "file/report.html", full)


def shown(path, profile):
    """The page as a browser has made it."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium on the PATH: the page was not opened in a browser")
    done = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={profile}", "--dump-dom", path.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize(("classes", "severities"), [(8, (3,)), (40, (1, 2, 3, 4, 5))])
def test_a_phone_shows_it_without_scrolling_sideways(tmp_path, written, classes, severities):
    """In a frame as a sandbox would have it, and as wide as a phone."""
    long = [f"a class with a rather long name, number {number}" for number in range(classes)]
    text = written(planted(classes, 600, names=long, severities=severities))
    (tmp_path / "host.html").write_text(
        f'<iframe width="390" height="800" frameborder="0" srcdoc="{html.escape(text)}"></iframe>'
        "<script>onload = () => { const page = frames[0].document; document.title = "
        "`${page.documentElement.clientWidth} ${page.documentElement.scrollWidth} ` + "
        "page.querySelectorAll('section').length + ' ' + page.querySelectorAll('svg').length }"
        "</script>",
        encoding="utf-8",
    )
    (title,) = re.findall("<title>([^<]*)</title>", shown(tmp_path / "host.html", tmp_path / "b"))
    inner, width, sections, figures = map(int, title.split())
    assert (sections, figures) == (len(PARTS), 4)
    assert inner <= 390
    assert width <= inner


def test_the_scores_of_a_run_are_told_in_words(full, written):
    found = Reader(written(full))
    assert "Out of fold 95.1% of 400 images are right (94.4 to 95.7)." in found.text
    assert "Registered: ensemble, version 3." in found.text
    assert "gains 0.5 points over the last epoch" in " ".join(found.text.split())
    run = Run("n", "s", 1, ("a", "b"), "m", 5, "today", repeats=2)
    assert "5 \N{MULTIPLICATION SIGN} 2 repeats" in " ".join(
        Reader(written(Report(run, SCORES))).text.split()
    )
