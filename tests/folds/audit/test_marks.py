"""From marks on the page of suspect labels to the labels of a run."""

import csv
import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from folds.audit.report import write_report
from folds.audit.suspects import find_suspects, read_predictions
from folds.images.relabel import NewLabel, relabelled
from tests.folds.audit.planted import brute_force, planted, save_opinions

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
NASTY, PROTO = 'a,"b"\n</script><b>\'\u202ex.png', "__proto__"


@pytest.fixture(scope="module")
def images():
    """Rows 5 and 9 have names that neither a table nor a script may obey."""
    found = planted()
    ids = found.ids.astype("U60")
    ids[[5, 9]] = NASTY, PROTO
    return replace(found, ids=ids, groups=ids.copy())


@pytest.fixture(scope="module")
def write(images, tmp_path_factory):
    def write(images=images, earlier=None):
        folder = tmp_path_factory.mktemp("marks")
        opinions = read_predictions(save_opinions(folder / "oof.npz", images, flipped=[5, 9]))
        suspects = replace(find_suspects(opinions), class_names=images.class_names)
        findings, path = brute_force(images), folder / "report.html"
        write_report(path, ["x"], images, findings, [((32, 32), 46)], suspects, earlier or {})
        return path

    return write


class Told(HTMLParser):
    """What the page tells its script."""

    def handle_starttag(self, tag, attrs):
        if (told := dict(attrs).get("data-labels")) is not None:
            self.told = json.loads(told)


def test_the_page_knows_the_images_by_their_own_names(images, write):
    path = write(earlier={"image0003": NewLabel("", "ant")})
    parser = Told()
    parser.feed(path.read_text(encoding="utf-8"))
    given = images.labels[[5, 9]].tolist()
    assert sorted(parser.told["images"]) == sorted(
        [name, label, (label + 1) % 3] for name, label in zip((NASTY, PROTO), given, strict=True)
    )
    assert parser.told["names"] == list(images.class_names)
    assert parser.told["earlier"] == [["image0003", "", "ant"]]
    assert "\u202e" not in path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


def control(page, name):
    """The choice under an image."""
    names = page.locator("#suspects .tile code").evaluate_all("all => all.map(one => one.title)")
    return page.locator("#suspects .tile select").nth([name in one for one in names].index(True))


def saved(page, folder):
    with page.expect_download() as download:
        page.get_by_role("button", name="Save").click()
    assert download.value.suggested_filename == "relabel.csv"
    download.value.save_as(folder / "relabel.csv")
    return str(folder / "relabel.csv")


def test_marks_become_the_labels_of_a_run(browser, images, write, tmp_path):
    page, path = browser.new_page(), write()
    page.goto(path.as_uri())
    button = page.get_by_role("button", name="Save")
    assert button.is_disabled()
    suggested = images.class_names[(images.labels[5] + 1) % 3]
    control(page, "</script>").select_option(label=suggested)
    control(page, PROTO).select_option(label="leave out")
    page.reload()  # marks are kept
    assert page.locator("#marks b").inner_text() == "New labels: 1, left out: 1"
    found, done = relabelled(images, saved(page, tmp_path))
    assert (done.changed, done.left_out) == (1, 1)
    assert PROTO not in found.ids
    assert found.labels[found.ids == NASTY] == (images.labels[5] + 1) % 3
    for name in ("</script>", PROTO):
        control(page, name).select_option(label="keep as it is")
    assert button.is_disabled()
    page.close()


def test_a_second_page_saves_the_labels_of_the_first_too(browser, images, write, tmp_path):
    was, new = (images.class_names[(images.labels[5] + step) % 3] for step in (0, 1))
    earlier = {NASTY: NewLabel(new, was), "image0003": NewLabel("", "ant")}
    labels = images.labels.copy()
    labels[5] = (labels[5] + 1) % 3
    page = browser.new_page()
    page.goto(write(replace(images, labels=labels), earlier).as_uri())
    control(page, "</script>").select_option(label=was)  # as it was: no line is left of it
    control(page, PROTO).select_option(label="leave out")
    with open(saved(page, tmp_path), newline="", encoding="utf-8") as file:  # noqa: PTH123
        rows = [[r["id"], r["label"], r["was"]] for r in csv.DictReader(file)]
    proto = images.class_names[images.labels[9]]
    assert rows == [["image0003", "", "ant"], [PROTO, "", proto]]
    page.close()


def test_without_scripts_there_are_no_dead_controls(browser, write):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(write().as_uri())
    assert page.locator("#suspects .tile").count() == 2
    assert page.get_by_role("button").count() == page.locator("select").count() == 0
    page.context.close()
