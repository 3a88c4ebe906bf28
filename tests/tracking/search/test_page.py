import html
import re
import shutil

import numpy as np
import pytest

from folds.errors import RunError
from tests.tracking.report.reader import Reader
from tests.tracking.search.made_up import near, race, search, trial
from tracking.search.page import write_search_report

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright: pip install playwright"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PARTS = ["expect", "race", "values", "importance", "best", "trials", "next", "settings"]
EVIL = "<script>alert('1')</script>\"&"


def single(count=12):
    """A search of one field."""
    rng = np.random.default_rng(1)
    trials = race(
        count, draw=lambda r: ({"epochs": int(r.integers(1, 9))}, 0.9 + 0.01 * r.random())
    )
    return search(trials, space={"epochs": {"int": [1, 8]}}, name=str(rng.integers(9)))


def unfinished():
    return search([one for one in race(20) if one.state != "complete"])


def evil():
    values = {EVIL: EVIL, "other": [EVIL]}
    trials = [
        one.model_copy(update={"values": values | {"n": one.number, EVIL: f"{EVIL}{one.number}"},
                               "why": EVIL, "mlflow_run": EVIL})
        for one in race(20)
    ]  # fmt: skip
    return search(
        trials, name=EVIL, date=EVIL, config={"data": EVIL, EVIL: EVIL}, space={EVIL: EVIL},
        sampler=EVIL, folds=[EVIL] * 5, best={EVIL: EVIL}, class_names=[EVIL], backbone=EVIL,
        digests={EVIL: EVIL}, notices=[EVIL], seconds={EVIL: 1.0}, importance={EVIL: 1.0},
    )  # fmt: skip


MADE = {
    "20 trials": search,
    "200 trials": lambda: search(count=200),
    "none complete": unfinished,
    "one field": single,
    "no trial": lambda: search([]),
    "one trial": lambda: search(race(1)),
    "one fold": lambda: search(race(12, folds=1), folds=["fold 1"]),
    "30 folds": lambda: search(race(12, folds=30), folds=[f"fold {n}" for n in range(1, 31)]),
    "30 fields": lambda: search(race(20, draw=many_fields), space={}),
    "hostile names": evil,
}


def many_fields(rng):
    names = [f"a_rather_long_field_{number}" for number in range(30)]
    return {name: float(rng.random()) for name in names}, 0.9 + 0.01 * rng.random()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page of a search by its name in MADE, written once."""
    folder, pages = tmp_path_factory.mktemp("pages"), {}

    def write(name):
        if name not in pages:
            pages[name] = folder / f"{name}.html"
            write_search_report(pages[name], MADE[name]())
        return pages[name]

    return write


def read(path):
    return Reader(path.read_text(encoding="utf-8"))


class TestParts:
    def test_all_are_there_in_order(self, written):
        found = read(written("20 trials"))
        assert list(found.sections) == PARTS
        assert found.tags.count("svg") == 2
        assert "python -m distributed.cv --config best.yaml" in found.text

    def test_without_a_complete_trial_there_is_no_winner(self, written):
        found = read(written("none complete"))
        assert list(found.sections) == [one for one in PARTS if one not in ("expect", "best")]
        assert "None of 11 trials has done all folds" in found.text
        assert "--config best.yaml" not in found.text

    def test_a_search_without_a_trial(self, written):
        assert list(read(written("no trial")).sections) == ["next", "settings"]

    @pytest.mark.parametrize(
        ("absent", "words"),
        [
            ({"outer": [], "outer_score": None}, ("nested", "Outer folds")),
            ({"holdout": None}, ("hold-out",)),
            ({"audited": None}, ("finished anyway in",)),
            ({"notices": []}, ("batch norm",)),
            ({"corrected": None}, ("corrected",)),
        ],
    )
    def test_what_is_absent_leaves_no_trace(self, tmp_path, written, absent, words):
        write_search_report(tmp_path / "a.html", search(**absent))
        whole, part = read(written("20 trials")).text, read(tmp_path / "a.html").text
        for word in words:
            assert word in whole
            assert word not in part

    def test_those_that_cannot_be_told_from_the_winner_are_marked(self, written):
        summary, page = search(), written("20 trials").read_text(encoding="utf-8")
        assert page.count('<tr class="tied">') == len(summary.tied) > 0
        assert page.count('<tr class="taken">') == 1
        table = page.partition('<table class="best">')[2].partition("</table>")[0]
        numbers = [int(n) for n in re.findall(r'<th scope="row">(\d+)</th>', table)]
        assert numbers == [one.number for one in summary.complete]

    def test_of_many_the_best_20_are_in_the_table_and_all_in_the_list(self, written):
        page = written("200 trials").read_text(encoding="utf-8")
        best, _, rest = page.partition('id="trials"')
        assert best.partition('<table class="best">')[2].count("<tr class=") == 20
        assert rest.count('<th scope="row">') > 200
        assert len(page) < 1_000_000

    def test_no_more_than_ten_axes(self, written):
        text = written("30 fields").read_text(encoding="utf-8")
        label = re.search(r'aria-label="(Values of 20 trials[^"]*)"', text)[1]
        assert label.count("a_rather_long_field_") == 10
        assert "The 10 most important of 30 fields." in " ".join(
            read(written("30 fields")).text.split()
        )

    def test_a_sum_of_scores_and_a_loss(self, tmp_path):
        for search_by, naive in (("log_loss", -0.25), ("macro_f1+0.1*roc_auc", 0.25)):
            write_search_report(
                tmp_path / "a.html", search(search_by=search_by, naive=near(naive, 0.01))
            )
            assert "0.250" in read(tmp_path / "a.html").text


class TestWhole:
    @pytest.mark.parametrize("name", MADE)
    def test_it_loads_nothing_and_can_be_read_aloud(self, written, name):
        text, found = written(name).read_text(encoding="utf-8"), read(written(name))
        assert all(value.startswith("#") for value in found.asked)
        assert not set(found.tags) & {"link", "iframe", "object", "embed", "base", "form", "img"}
        assert "@import" not in text
        assert "http" not in text
        assert len(found.ids) == len(set(found.ids))
        assert text.count("<svg") == text.count('<svg role="img" aria-label=')
        assert found.headings[0] == 1
        assert np.diff(found.headings).max() == 1
        assert not re.search(r"\bnan\b|NaN|\bNone\b", found.text.replace("None of", ""))

    def test_names_are_no_markup(self, written):
        text, found = (
            written("hostile names").read_text(encoding="utf-8"),
            read(written("hostile names")),
        )
        assert found.tags.count("script") == 1
        assert text.count("alert(") == text.count("&lt;script&gt;alert(")
        assert found.text.count(EVIL) > 20

    def test_it_is_always_the_same(self, written, tmp_path):
        write_search_report(tmp_path / "again.html", search())
        assert (tmp_path / "again.html").read_bytes() == written("20 trials").read_bytes()

    def test_a_place_that_cannot_be_written_to(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(RunError, match="cannot be written"):
            write_search_report(tmp_path / "file/report.html", search([trial(1, {}, [], "failed")]))


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


def opened(browser, path, width, scheme):
    """Width of the page with everything unfolded, and what the browser complains of."""
    page, errors = browser.new_page(viewport={"width": width, "height": 900}), []
    page.emulate_media(color_scheme=scheme)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    own = page.evaluate("document.documentElement.scrollWidth")
    page.close()
    return own, errors


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_a_browser_shows_it_without_scrolling_sideways(browser, written, name, width, scheme):
    assert opened(browser, written(name), width, scheme) == (width, [])


def test_links_within_the_page_work_in_a_sandbox(browser, written):
    """As MLflow shows it."""
    text = html.escape(written("20 trials").read_text(encoding="utf-8"))
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_content(
        f'<iframe sandbox="allow-scripts" width="1100" height="800" srcdoc="{text}"></iframe>'
    )
    frame = page.frame_locator("iframe")
    frame.get_by_role("link", name="Best configurations").click()
    playwright.expect(frame.get_by_role("heading", name="Best configurations")).to_be_in_viewport()
    page.close()
