import html
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from folds.errors import RunError
from tests.tracking.report.planted import SCORES, UNKNOWN, fold, near, planted, shift, slices
from tests.tracking.report.reader import Reader
from tracking.report import write_report
from tracking.report.gallery import Gallery
from tracking.report.images import images_figure, images_words
from tracking.summary_parts import CurvePoint, CurveSummary, Estimate, LawSummary, Missing

PARTS = [
    "scores", "candidates", "folds", "curves", "confusion", "calibration", "decision", "classes",
    "shift", "mistakes", "unsure", "augmentation", "map", "origin",
]  # fmt: skip
MINUS = "\N{MINUS SIGN}"
EVIL = "<script>alert('1')</script>\"&"


def learning_curve():
    """Scores of four shares of the images, of which one failed."""
    scores = {"macro_f1": 0.7, "log_loss": 0.3}
    return CurveSummary(
        score="macro_f1",
        points=[
            CurvePoint(
                share=share,
                images=320 * share,
                scores={name: near(value + gain, 0.02) for name, value in scores.items()},
            )
            for share, gain in ((0.25, 0.0), (0.5, 0.1), (1.0, 0.2))
        ],
        law=LawSummary(limit=0.95, factor=2.0, exponent=0.5),
        gain=Estimate(value=0.02, low=0.005, high=0.03),
        missing={EVIL: "full"},
    )


@pytest.fixture(scope="module")
def full():
    return planted()


@pytest.fixture
def written(tmp_path):
    def write(summary, visuals):
        write_report(tmp_path / "a/report.html", summary, visuals)
        return (tmp_path / "a/report.html").read_text(encoding="utf-8")

    return write


class TestParts:
    def test_all_are_there_in_order(self, full, written):
        found = Reader(written(*full))
        assert list(found.sections) == PARTS
        assert found.sections["mistakes"] == min(24, full[1].mistakes.total)
        assert found.sections["unsure"] == 24
        assert found.text.count("95.1%") >= 2

    def test_slices_come_with_the_worst_first_and_few_images_are_marked(self, full, written):
        summary, visuals = full
        columns = {"site": slices(EVIL, "b", "c", worst="b"), "sex": slices("m", "f")}
        text = written(summary.model_copy(update={"slices": columns}), visuals)
        found = Reader(text)
        place = PARTS.index("shift")
        assert list(found.sections) == [*PARTS[:place], "slices", *PARTS[place:]]
        assert EVIL not in text
        told = text[text.index('id="slices"') : text.index('id="shift"')]
        assert told.index(">c <") < told.index(">b <") < told.index(html.escape(EVIL)[:9])
        assert told.count("(worst)") == 1
        assert told.count("(few)") == 2

    def test_scores_by_training_images_come_with_what_more_would_add(self, full, written):
        summary, visuals = full
        text = written(summary.model_copy(update={"learning_curve": learning_curve()}), visuals)
        place = PARTS.index("confusion")
        assert list(Reader(text).sections) == [*PARTS[:place], "images", *PARTS[place:]]
        told = text[text.index('<section id="images"') : text.index('<section id="confusion"')]
        assert "Twice the images: about +2.0 points (0.5 to 3.0), by a power law." in told
        assert "Macro-F1 by training images: 70.0% of 80, 80.0% of 160, 90.0% of 320." in told
        assert "&lt;script&gt;alert" in told
        assert EVIL not in text
        assert "<svg" in told

    def test_without_a_law_nothing_is_promised(self):
        plain = learning_curve().model_copy(update={"law": None, "gain": None})
        assert "no power law is sure enough" in images_words(plain)[1]
        images_figure(plain)

    def test_of_a_loss_more_images_take_away(self):
        curve = learning_curve().model_copy(update={"score": "log_loss"})
        less = f"about {MINUS}0.020 ({MINUS}0.030 to {MINUS}0.005)"
        assert less in images_words(curve)[1]

    @pytest.mark.parametrize(
        ("absent", "section"),
        [
            ({"oof_shift": None}, "shift"),
            ({"mistakes": Gallery([], 0)}, "mistakes"),
            ({"unsure": Gallery([], 0)}, "unsure"),
            ({"map": None}, "map"),
        ],
    )
    def test_what_is_absent_leaves_no_trace(self, full, written, absent, section):
        summary, visuals = full
        if "oof_shift" in absent:
            text = written(summary.model_copy(update=absent), visuals)
        else:
            text = written(summary, replace(visuals, **absent))
        assert list(Reader(text).sections) == [name for name in PARTS if name != section]
        assert f'href="#{section}"' not in text

    def test_heat_maps_are_beside_the_images_and_told_where_they_are(self, full, written):
        parts = re.split("<section", written(*full))
        (mistakes,) = (part for part in parts if 'id="mistakes"' in part)
        (unsure,) = (part for part in parts if 'id="unsure"' in part)
        count = Reader(written(*full)).sections["mistakes"]
        assert (mistakes.count("<img"), unsure.count("<img")) == (2 * count, 24)
        assert ("when hidden" in mistakes, "when hidden" in unsure) == (True, False)

    def test_what_format_1_did_not_tell_is_left_out(self, full, written):
        summary, visuals = full
        unknown = dict.fromkeys(("date", "scored", "class_images", "groups", "software"))
        old = summary.model_copy(
            update=unknown | {"oof_shift": summary.oof_shift.model_copy(update={"clean": None})}
        )
        found = Reader(written(old, visuals))
        assert list(found.sections) == [name for name in PARTS if name != "shift"]
        assert "None" not in found.text.partition("Settings by flag")[0]

    def test_without_other_predictions_nothing_is_said_of_them(self, full, written):
        summary, visuals = full
        alone = summary.model_copy(update={"holdout": None, "external": {}})
        assert "Other predictions" in Reader(written(*full)).text
        assert "Other predictions" not in Reader(written(alone, visuals)).text

    def test_scores_that_are_not_defined(self, full, written):
        summary, visuals = full
        first = summary.classes[0].model_copy(update={"f1": UNKNOWN})
        changed = {
            "oof_intervals": SCORES | {"roc_auc": UNKNOWN},
            "classes": [first, *summary.classes[1:]],
        }
        text = written(summary.model_copy(update=changed), visuals)
        assert "nan" not in Reader(text).text.lower()
        assert "nan%" not in text
        assert "\N{EN DASH}" in Reader(text).text

    def test_one_epoch_and_one_fold(self, full, written):
        summary, visuals = full
        reports = visuals.histories[0][:1]
        only = [fold(0, reports, np.random.default_rng(0))]
        one = summary.model_copy(update={"folds": only})
        assert "curves" in Reader(written(one, replace(visuals, histories=[reports]))).sections

    def test_severities_make_a_heat_map(self, full, written):
        summary, visuals = full
        severe = summary.model_copy(update={"oof_shift": shift(severities=(1, 2, 3, 4, 5))})
        assert '<table class="heat">' in written(severe, visuals)
        assert '<table class="bars">' in written(summary, visuals)

    def test_points_without_mistakes(self, full, written):
        summary, visuals = full
        places = replace(visuals.map, wrong=np.zeros_like(visuals.map.wrong))
        assert "ringed" in written(summary, visuals)
        assert "ringed" not in written(summary, replace(visuals, map=places))


class TestWhole:
    def test_it_loads_nothing(self, full, written):
        text = written(*full)
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
        summary, visuals = planted(names=names, ids=ids, corruptions=("jpeg", EVIL))
        model = summary.registered.model_copy(update={"name": EVIL, "why": EVIL})
        evil = {
            "name": EVIL,
            "config": summary.config | {"data": EVIL, "backbone": EVIL},
            "data_digest": EVIL,
            "plan": EVIL,
            "seconds": {EVIL: 1.0},
            "software": summary.software.model_copy(
                update={"system": EVIL, "packages": {EVIL: EVIL, "crossfold": EVIL}}
            ),
            "folds": [one.model_copy(update={"name": EVIL}) for one in summary.folds],
            "registered": model,
            "notices": [EVIL],
        }
        text = written(summary.model_copy(update=evil), visuals)
        assert Reader(text).tags.count("script") == 1
        assert text.count("alert(") == text.count("&lt;script&gt;alert(")
        assert EVIL in Reader(text).text

    def test_it_can_be_read_aloud(self, full, written):
        found = Reader(written(*full))
        assert found.wordless == 0
        assert found.headings[0] == 1
        assert found.headings.count(1) == 1
        steps = np.diff(found.headings)
        assert steps.max() == 1
        assert len(found.ids) == len(set(found.ids))
        assert found.tags.count("svg") == 7

    @pytest.mark.parametrize("classes", [2, 40, 120])
    def test_few_and_many_classes(self, written, classes):
        found = Reader(written(*planted(classes, 1200)))
        assert list(found.sections) == PARTS
        assert ("counts" in found.text) == (classes <= 100)
        assert "Most frequent confusions" in found.text

    def test_small_and_always_the_same(self, written):
        run = planted(8, 5000)
        text = written(*run)
        assert len(text) < 3_000_000
        assert text == written(*run)

    def test_a_place_that_cannot_be_written_to(self, full, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(RunError, match="cannot be written"):
            write_report(tmp_path / "file/report.html", *full)


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
    text = written(*planted(classes, 600, names=long, severities=severities))
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
    assert (sections, figures) == (len(PARTS), 7)
    assert inner <= 390
    assert width <= inner


def test_the_scores_of_a_run_are_told_in_words(full, written):
    found = Reader(written(*full))
    assert "Out of fold 95.1% (94.4 to 95.7) of 400 images are right." in found.text
    assert "Registered: ensemble, version 3." in found.text
    assert "Scores are of each fold's last epoch: macro-F1 0.943" in " ".join(found.text.split())
    summary, visuals = full
    twice = summary.model_copy(update={"config": summary.config | {"repeats": 2}})
    assert "5 \N{MULTIPLICATION SIGN} 2 repeats" in " ".join(
        Reader(written(twice, visuals)).text.split()
    )


class TestPartial:
    def test_a_banner_and_the_table_of_folds_say_what_is_missing_and_why(self, full, written):
        summary, visuals = full
        lost = Missing(name="fold 6", repeat=0, fold=5, images=80, cause=EVIL)
        text = written(summary.model_copy(update={"missing": [lost]}), visuals)
        found = Reader(text)
        assert EVIL not in text
        assert "Partial: fold 6 is missing; scores are of 400 of 480 images." in found.text
        assert found.text.index("Partial:") < found.text.index("Out of fold")
        assert found.text.count(f"fold 6: {EVIL}") == 1
        assert text.count('class="partial"') == 1
        assert re.search(r"fold 6</th>\s*<td[^>]*>missing", text)
        assert "6, 1 missing" in found.text

    def test_a_whole_run_has_none(self, full, written):
        text = written(*full)
        assert 'class="partial"' not in text
        assert "missing" not in Reader(text).text
