"""Hostile names of files, labels, networks and folders, on every page and screen."""

import csv
import json
import os
import shutil
from html.parser import HTMLParser

import mlflow
import numpy as np
import pytest
import timm
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from folds.audit.report import write_report as write_audit
from folds.audit.store import audited
from folds.audit.suspects import Suspects
from folds.config import DataConfig
from folds.images import load
from folds.images.relabel import NewLabel
from folds.text import one_line, shown
from tests.distributed.test_end_to_end import client_of, python
from tests.tracking.report.planted import planted
from tests.tracking.search.made_up import race, search
from tracking.report.page import write_report
from tracking.search.page import write_search_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ALERT = "<img src=x onerror=alert({})>"
LABELS = (
    f"{ALERT.format(1)}</script><script>alert(2)</script>",
    "../../../etc/\u202egnp.passwd\u2066 [bold red]x[/] {{7*7}} $x$ \\frac |a|b| :smile:",
    "L" * 10_000,
)
FILES = (
    f"{ALERT.format(3).replace('/', '')}.png", "\x1b[31mred\x1b]0;title\x07\x1b[2J.png",
    "line\nerror: forged\r.png", "\u202egnp.exe.png", "$(mkdir sprung)`mkdir sprung`.png",
    "-rf --data x.png", "=cmd|' C'!A0.png", "\"'><svg onload=alert(4)>.png", "%2e%2e%2f.png",
    "n" * 240 + ".png", "[bold red]x[ b].png", "{{7*7}}.png",
)  # fmt: skip
NETWORK = f"net{ALERT.format(5)}\x1b[31m"
UNSEEN = ("\x1b", "\x07", "\r", "\u202e", "\u2066")  # nowhere but as Python writes them


def make_table(folder):
    """150 digits under hostile names, with one file that is broken and one that is there twice."""
    digits, rows = load_digits(), []
    (folder / "set").mkdir()
    for number in range(150):
        name = FILES[number % len(FILES)]
        name = f"{number:03d}{name}"[:250] if number >= len(FILES) else name
        grey = (digits.images[number] * 15).astype(np.uint8)
        Image.fromarray(grey).resize((32, 32)).save(folder / "set" / name, "PNG")
        rows.append((name, LABELS[digits.target[number] % 3]))
    broken = folder / "set" / rows[1][0]
    broken.write_bytes(broken.read_bytes()[:60])
    with (folder / "set" / "x.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])


def make_network(folder):
    """A network of timm in a folder with a hostile name."""
    (place := folder / NETWORK).mkdir()
    settings = {
        "input_size": [3, 32, 32],
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "license": "<b>",
        "num_classes": 0,
    }
    about = {"architecture": "test_resnet", "pretrained_cfg": settings}
    (place / "config.json").write_text(json.dumps(about))
    state = timm.create_model("test_resnet", num_classes=0).state_dict()
    save_file({n: t.contiguous() for n, t in state.items()}, place / "model.safetensors")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Two runs on such images, and all commands that tell of them; what each printed."""
    folder = tmp_path_factory.mktemp("outer") / "inner"
    folder.mkdir()
    make_table(folder)
    make_network(folder)
    cv = [
        "--data", "set/x.csv", "--folds", "2", "--backbone", f"local-dir:{NETWORK}",
        "--batch-size", "16", "--image-size", "32", "--stages", "0:1:1e-2", "1:2:1e-3",
        "--skip-broken", "--experiment", f"cells {ALERT.format(6)}",
    ]  # fmt: skip
    told = {"cv": python(folder, "distributed.cv", *cv, "--output", "out", "--shift", "fast")}
    told["again"] = python(
        folder, "distributed.cv", *cv, "--output", f"again{ALERT.format(7)}", "--shift", "off",
        "--splits", "out/splits.json", "--stages", "1:1:1e-3", "--concurrent-folds", "1",
    )  # fmt: skip
    uri = f"sqlite:///{folder}/mlflow.db"
    runs = [run.info.run_id for run in parents(folder)]
    told["compare"] = python(
        folder, "tracking.compare", *runs, "--html", "compare.html", "--tracking-uri", uri
    )
    told["inspect"] = python(
        folder, "folds.inspect", "--data", "set/x.csv", "--skip-broken", "--oof", "out",
        "--out", "inspect", "--clean-to", "clean.npz",
    )  # fmt: skip
    told["promote"] = python(folder, "tracking.promote", "--tracking-uri", uri)
    told["predict"] = python(
        folder, "tracking.predict", "--data", "set", "--skip-broken", "--out", "preds.csv"
    )
    return folder, told


def parents(folder):
    client = client_of(folder)
    experiments = [one.experiment_id for one in client.search_experiments()]
    runs = client.search_runs(experiments, "tags.`crossfold.kind` = 'parent'")
    return sorted(runs, key=lambda run: run.info.start_time)


class Page(HTMLParser):
    """What a page asks for and says; fails where it would run something."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.asked, self.text = [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        assert not [name for name, _ in attrs if name.startswith("on")]
        assert tag not in ("iframe", "object", "embed", "base", "form")
        self.tags.append(tag)
        wanted = ("src", "href", "xlink:href", "data", "srcset", "poster", "action")
        self.asked += [value for name, value in attrs if name in wanted]

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Pages of a run, a search and an audit that never were, under such names."""
    folder = tmp_path_factory.mktemp("drawn")
    ids = np.array([f"{row}{FILES[row % len(FILES)]}" for row in range(400)])
    nasty = f"{ALERT.format(9)}\u202e\x1b[31m"
    names = [*LABELS, *"abcde"]
    summary, visuals = planted(names=names, ids=ids)
    summary = summary.model_copy(
        update={"name": nasty, "config": summary.config | {"data": nasty, "backbone": nasty},
                "class_images": dict.fromkeys(names, 50), "notices": [nasty]}
    )  # fmt: skip
    write_report(folder / "report.html", summary, visuals)
    write_search_report(folder / "search.html", hostile_search())
    make_table(folder)
    config = DataConfig(data=str(folder / "set" / "x.csv"), skip_broken=True)
    images = load(config, seed=0, largest=32)
    rows, sure = np.arange(len(FILES)), np.full(len(FILES), 0.5)
    wrong = images.labels[rows], (images.labels[rows] + 1) % 3
    suspects = Suspects(images.ids[rows], *wrong, sure, sure, images.class_names)
    shown = nasty, images, audited(images), [((32, 32), 149)], suspects
    write_audit(folder / "audit.html", *shown, {nasty: NewLabel(nasty, nasty)})
    return sorted(folder.glob("*.html"))


def check_page(path):
    """No script but ours, nothing that is fetched, no letter that is obeyed."""
    text = path.read_text()
    page = Page(text)
    assert page.tags.count("script") <= 1, path
    assert all(word.startswith(("data:", "#")) for word in page.asked), path
    assert not [letter for letter in UNSEEN if letter in text], path
    return page


def hostile_search():
    nasty = f"{ALERT.format(8)}\u202e\x1b[31m"
    return search(
        race(12), name=nasty, class_names=[*LABELS], backbone=nasty, notices=[nasty],
        best={"backbone": nasty, "augment": nasty}, space={nasty: {"choice": [nasty]}},
    )  # fmt: skip


@pytest.mark.slow
def test_all_commands_end_well_and_print_nothing_that_a_terminal_obeys(ran):
    for name, done in ran[1].items():
        words = done.stdout + done.stderr
        assert done.returncode == 0, (name, words[-3000:])
        assert not [letter for letter in UNSEEN if letter in words], name
        assert "Traceback" not in words
    told = ran[1]["cv"].stderr + ran[1]["cv"].stdout
    assert r"\x1b[31mred\x1b]0;title\x07" in told  # the broken file is named
    assert "error: forged" not in told.splitlines()


@pytest.mark.slow
def test_nothing_lies_outside_of_the_folder_or_under_a_hostile_name(ran):
    folder, _ = ran
    assert {path.name for path in folder.parent.iterdir()} == {"inner"}
    given = {"set", NETWORK}
    known = {"out", "mlflow.db", "mlruns", "compare.html", "inspect", "clean.npz", "preds.csv",
             "clean.manifest.csv", f"again{ALERT.format(7)}", "search.html"}  # fmt: skip
    assert {path.name for path in folder.iterdir()} - given <= known
    written = [path for name in ("mlruns", "out", "inspect") for path in (folder / name).rglob("*")]
    assert len(written) > 50
    assert not [path.name for path in written if not path.name.isascii() or "<" in path.name]


@pytest.mark.slow
def test_pages_of_a_run_hold_nothing_that_is_obeyed(ran):
    pages = sorted(ran[0].glob("**/*.html"))
    assert len([page for page in pages if page.name in ("report.html", "compare.html")]) > 3
    for path in pages:
        check_page(path)
    report = Page((ran[0] / "out" / "report.html").read_text())
    for name in LABELS:
        assert shown(name) in report.text or shown(name)[:40] in report.text


def test_pages_hold_nothing_that_is_obeyed(drawn):
    assert len(drawn) == 3
    for path in drawn:
        assert shown(LABELS[0]) in check_page(path).text or path.stem == "audit"


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")
    flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


def heard(browser, pages):
    """What pages say in dialogs or fail to fetch, once they have been drawn."""
    said, page = [], browser.new_page()
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("requestfailed", lambda request: said.append(request.url))
    for path in pages:
        page.goto(path.as_uri())
        page.wait_for_load_state("load")
        page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
    page.close()
    return said


def test_a_browser_runs_nothing_in_them(drawn, browser, tmp_path):
    assert heard(browser, drawn) == []
    (tmp_path / "open.html").write_text(f"<p>{ALERT.format(0)}</p>")
    assert "0" in heard(browser, [tmp_path / "open.html"])  # it would be heard


@pytest.mark.slow
def test_a_browser_runs_nothing_in_those_of_a_run(ran, browser):
    assert heard(browser, sorted(ran[0].glob("**/*.html"))) == []


@pytest.mark.slow
def test_mlflow_keeps_them_shortened_and_as_text(ran):
    folder, _ = ran
    client = client_of(folder)
    for run in parents(folder):
        assert run.info.status == "FINISHED"
        assert "<" not in run.info.run_name
        note = run.data.tags["mlflow.note.content"]
        assert "<img" not in note
        assert all(len(value) <= 8000 for value in run.data.tags.values())
        assert all(len(value) <= 6000 for value in run.data.params.values())
        names = [file.path for file in client.list_artifacts(run.info.run_id)]
        assert all(name.isascii() and "<" not in name for name in names)
    version = client.get_model_version("crossfold", "1")
    assert "<img" not in version.description
    cards = list(folder.rglob("MODEL_CARD.md"))
    assert cards
    assert not [card for card in cards if "<img" in card.read_text()]
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")


@pytest.mark.slow
def test_predictions_carry_the_names_as_they_are(ran):
    with (ran[0] / "preds.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][2:] == sorted(LABELS)
    assert len(rows) == 150
    assert FILES[0] in {row[0] for row in rows}


@pytest.mark.parametrize("name", ["\x1b[31m", "a\nb", "a\x07", "a\u2028"])
def test_classes_of_control_characters_are_refused_in_one_line(refused, here, name):
    for folder in (name, "b"):
        (here / "set" / folder).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(here / "set" / folder / "1.png")
    line = refused("distributed.cv", "--data", "set", "--weights", "none", "--plan")
    assert "control characters; rename the class" in line
    assert "control characters" in refused("folds.inspect", "--data", "set")


def test_names_that_are_no_text_are_refused_in_one_line(refused, here):
    Image.new("RGB", (32, 32)).save(here / "x.png")
    for folder in (b"a", b"\xff\xfe<img>"):
        (place := here / "set" / os.fsdecode(folder)).mkdir(parents=True)
        shutil.copy(here / "x.png", place / os.fsdecode(b"\xe4\x1b.png"))
    assert "UTF-8" in refused("distributed.cv", "--data", "set", "--weights", "none", "--plan")
    assert "UTF-8" in refused("folds.inspect", "--data", "set")
    assert "UTF-8" in refused("folds.preview", "--data", "set")


def test_words_of_a_command_line_are_shown(refused, here):
    for word in ("\x1b[31mred", "a\nerror: forged", "\u202egnp", "x" * 10_000, "~nobody-is-this/x"):
        line = refused("distributed.cv", "--data", word, "--plan")
        assert "\x1b" not in line
        assert len(line) < 11_000
        refused("distributed.cv", "--data", "digits", "--weights", word, "--plan")
        refused("distributed.cv", "--config", word)
        refused("distributed.cv", "--data", "digits", "--splits", word, "--plan")
        refused("folds.inspect", "--oof", word)
        refused("distributed.tune", "--data", "digits", "--space", word)


def test_what_is_obeyed_is_shown():
    assert shown("a\x1b[31m\u202e\udce4\r\tb\n") == "a\\x1b[31m\\u202e\\udce4\\r\tb\n"
    assert one_line("a\n\tb\u2028") == r"a\n\tb\u2028"
    assert shown(shown("\x1b")) == shown("\x1b")
    for text in ("Bär", "日本", "עברית", "e\u0301", "👩\u200d🔬", "a b"):
        assert one_line(text) == text
