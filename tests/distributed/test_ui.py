"""A finished run in MLflow's own pages, as somebody sees it in a browser."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.servers import mlflow_server

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright: pip install playwright"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
MODE = "workflowType=machine_learning"
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def server(done, tmp_path_factory):
    """The address of `mlflow server` on the run's database."""
    with mlflow_server(tmp_path_factory.mktemp("server"), f"sqlite:///{done[0]}/mlflow.db") as uri:
        yield uri


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser):
    opened = browser.new_context(viewport={"width": 1700, "height": 1300})
    opened.set_default_timeout(PATIENCE_MS)
    yield opened
    opened.close()


@pytest.fixture
def keep(tmp_path, done):
    """Keep a picture of a page, in CROSSFOLD_SCREENSHOTS if that is set."""
    folder = Path(os.environ.get("CROSSFOLD_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=folder / f"{name}.png", animations="disabled")


@pytest.fixture(scope="module")
def summary(done):
    return json.loads((done[0] / "out" / "summary.json").read_text())


@pytest.fixture
def parent(context, server, summary):
    """The page of the parent run."""
    ids = summary["mlflow"]
    page = context.new_page()
    page.goto(f"{server}/#/experiments/{ids['experiment_id']}/runs/{ids['parent_run']}?{MODE}")
    page.get_by_role("link", name="report", exact=True).wait_for()
    return page


def follow(page, name):
    """Click a link of a description: it opens a page of its own."""
    with page.expect_popup() as opened:
        page.get_by_role("link", name=name, exact=True).click()
    return opened.value


def test_folds_are_nested_under_their_parent_and_can_be_compared(context, server, summary, keep):
    page = context.new_page()
    page.goto(f"{server}/#/experiments/{summary['mlflow']['experiment_id']}/runs?{MODE}")
    row = page.get_by_role("row").filter(has_text=summary["name"])
    row.wait_for()
    assert page.get_by_role("link", name="fold 1", exact=True).count() == 0
    row.get_by_role("button").first.click()
    for name in ("fold 1", "fold 2"):
        fold = page.get_by_role("row").filter(has_text=name)
        fold.get_by_role("checkbox").check()
    keep(page, "experiment")
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("Comparing 2 Runs").wait_for()
    page.get_by_text("macro_f1", exact=True).first.wait_for()
    keep(page, "compare")


def test_the_parent_leads_to_charts_of_its_folds_alone(parent, summary, keep):
    keep(parent, "parent")
    page = follow(parent, "folds side by side")
    page.get_by_text("shift", exact=True).wait_for()
    for name in ("fold 1", "fold 2"):
        page.get_by_role("link", name=name, exact=True).wait_for()
    assert page.get_by_role("link", name=summary["name"]).count() == 0
    keep(page, "folds")


def test_the_report_opens_in_the_artifact_view(parent, summary, keep):
    page = follow(parent, "report")
    report = page.frame_locator("iframe")
    report.get_by_role("heading", level=1, name=summary["name"]).wait_for()
    keep(page, "report")


def test_a_fold_tells_its_scores_and_shows_its_curves(parent, summary, keep):
    parent.get_by_role("link", name="fold 1", exact=True).click()
    table = parent.get_by_role("table").filter(has_text="validation, corrupted")
    validation = parent.get_by_role("cell", name="validation", exact=True)
    row = table.get_by_role("row").filter(has=validation)
    accuracy = summary["folds"][0]["scores"]["accuracy"]
    playwright.expect(row).to_contain_text(f"{accuracy:.3f}")
    keep(parent, "fold")
    page = follow(parent, "curves")
    page.get_by_text("Path: ").wait_for()
    picture = page.locator("img[src^='blob:']").first
    picture.wait_for()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 900
    keep(page, "curves")
