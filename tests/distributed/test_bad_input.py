"""Every kind of bad input: exit status 2, one line with a remedy, nothing left behind."""

import re
import sys

import numpy as np
import pytest
from PIL import Image

from distributed import cluster, cv
from folds import cli


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    # these are for a process of their own
    monkeypatch.setattr(cluster, "set_environment", lambda address: [])
    monkeypatch.setattr(cluster.Starter, "begin", lambda self: None)
    return tmp_path


def refused(monkeypatch, capsys, *argv):
    """Run the command in this process and return its one line of error."""
    base = ["--weights", "none", "--backbone", "test_resnet", "--stages", "1:1:1e-3"]
    monkeypatch.setattr(sys, "argv", ["cv", *base, *argv])
    status = cli.run(cv.main)
    lines = capsys.readouterr().err.strip().splitlines()
    assert status == 2
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def npz(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def pixels(count=20, dtype=np.uint8):
    return np.zeros((count, 8, 8, 3), dtype)


LABELS = np.arange(20) % 2


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--data", "nowhere"], "no such file or folder"),
        (["--data", "demos"], "nearest: demo"),
        (["--folds", "1"], "--folds 1: must be greater than or equal to 2"),
        (["--stages", "0:0:1"], "a stage has at least 1"),
        (["--stages", "1:1:1e-3:bn=off"], "bn=off; use bn=frozen, bn=train"),
        (
            ["--data", "digits", "--stages", "9blocks:1:1e-3"],
            "--stages 9blocks:1:0.001: the backbone has 5 blocks; name at most these",
        ),
        (["--tta", "d6"], "--tta 'd6': use none, flips, d4, or a number of views from 2 to 64"),
        (["--head-layers", "512,x"], "--head-layers 'x': must be a valid integer"),
        (["--image-size", "4"], "--image-size 4: must be greater than or equal to 8"),
        (["--data", "digits", "--backbone", "resnet19"], "nearest: resnet"),
        (["--data", "digits", "--batch-size", "5000"], "--batch-size 5000: larger than"),
        (["--data", "digits", "--class-weights", "nine=2"], "--class-weights nine: no such class"),
        (["--data", "digits", "--class-weights", "9=0"], "the weight of 9, 0, must be above 0"),
        (["--balance", "weights", "--class-weights", "a=2"], "leave one of the two out"),
        (["--data", "digits", "--weights", "missing.pt"], "no such file"),
        (["--data", "digits", "--workers-per-fold", "4096"], "the cluster has"),
        (
            ["--data", "digits", "--batch-size", "8", "--accumulate", "8", "--head-layers", "16",
             "--head-norm", "batch", "--plan"],
            "--head-norm batch has nothing to normalise by in one image",
        ),
        (["--data", "digits", "--device", "cuda", "--plan"], "no GPU"),
        (["--data", "digits", "--lr-find", "--plan"], "--lr-find: asked for with --plan"),
        (["--data", "digits", "--limit", "5"], "fewer images than the 10 classes"),
        (["--data", "digits", "--folds", "200"], "fewer than --folds 200"),
        (["--data", "digits", "--splits", "none.json"], "give a splits.json"),
        (["--data", "digits", "--holdout", "0.7"], "--holdout 0.7: must be less than or equal"),
        (["--data", "digits", "--group-regex", "("], "--group-regex '(': no regular expression"),
        (["--data", "digits", "--group-regex", "(x)"], "names no group in 1797 of 1797 ids"),
        (["--select-by", "f1"], "--select-by 'f1': no score 'f1'; nearest: macro_f1"),
        (["--select-by", "shift.macro_f1", "--shift", "off"], "leave out --shift off"),
        (["--select-by", "external.lab2.ece"], "there is no --external lab2=SOURCE"),
        (["--model-name", "a/b"], "--model-name 'a/b': must be a name without / : @ # ? %"),
        (["--model-name", 'say "hi"'], "must be a name without / : @ # ? %"),
        (["--model-name", ".."], "--model-name '..': must be a name without"),
        (["--model-name", "x" * 201], "at most 200 characters"),
        (["--experiment", "x" * 257], "at most 256 characters"),
        (["--experiment", "a\nb"], "must be of visible letters"),
        (["--external", "lab2"], "must be NAME=SOURCE"),
        (["--external", "a=demo", "--external", "a=digits"], "two of them have one name"),
        (["--data", "digits", "--external", "a=missing"], "--external a=missing: no such file"),
        (["--config", "none.yaml"], "give a YAML file"),
        (["--resume"], "no interrupted run"),
        (["--data", "digits", "--backbone", "test_vit", "--image-size", "100"], "--image-size 160"),
        (["--data", "digits", "--output", "/proc/x/y"], "no folder that can be written to"),
        (["--resume", "--config", "x.yaml"], "own settings; leave it out"),
        (["--data", "digits", "--address", "127.0.0.1:9"], "no Ray cluster answers"),
        (["--data", "digits", "--tracking-uri", "http://127.0.0.1:9"], "does not answer"),
        (["--data", "digits", "--tracking-uri", "sqlite:///no/such/folder/x.db"], "no folder"),
    ],
)  # fmt: skip
def test_wrong_flags(here, monkeypatch, capsys, argv, words):
    before = set(here.iterdir())
    if "cuda" in argv:
        monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert words in refused(monkeypatch, capsys, *argv)
    assert set(here.iterdir()) == before


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": pixels(), "labels": LABELS[:9]}, "20 images but 9 labels"),
        ({"images": pixels(dtype=np.float32), "labels": LABELS}, "dtype float32"),
        ({"images": pixels()[..., :2], "labels": LABELS}, "shape (20, 8, 8, 2)"),
        ({"images": pixels(), "labels": LABELS.astype(float)}, "save integers"),
        ({"images": pixels(), "labels": LABELS.astype(object)}, "object arrays"),
        ({"images": pixels(), "labels": LABELS * 0}, "only one class"),
        ({"images": pixels()}, "no array 'labels'"),
        ({"pictures": pixels()}, "expected arrays"),
    ],
)
def test_wrong_arrays(here, monkeypatch, capsys, arrays, words):
    path = npz(here / "x.npz", **arrays)
    assert words in refused(monkeypatch, capsys, "--data", path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a readable table"),
        ("path,label\n", "no rows"),
        ("file,label\nx.png,a\n", "no column 'path' among file, label"),
        ("path,class\nx.csv,a\n", "no column 'label' among path, class"),
        ("path,label\nx.csv,\n", "1 cells of column 'label' are empty"),
        ("path,label\nno.png,a\n", "1 of 1 files are not there (no.png)"),
        ("path,label\nx.csv,a\nx.csv,b\n", "stand in more than one row"),
    ],
)
def test_wrong_tables(here, monkeypatch, capsys, text, words):
    (here / "x.csv").write_text(text)
    assert words in refused(monkeypatch, capsys, "--data", "x.csv")


def test_wrong_folders(here, monkeypatch, capsys):
    (here / "empty").mkdir()
    assert "no class folders" in refused(monkeypatch, capsys, "--data", "empty")
    (here / "one" / "a").mkdir(parents=True)
    assert "'a' has no images" in refused(monkeypatch, capsys, "--data", "one")


def test_external_images_of_an_unknown_class(here, monkeypatch, capsys):
    for name in ("0", "nein"):
        (here / "lab2" / name).mkdir(parents=True)
        Image.fromarray(pixels()[0]).save(here / "lab2" / name / "1.png")
    line = refused(monkeypatch, capsys, "--data", "digits", "--external", "lab2=lab2")
    assert "--external lab2=lab2: class 'nein' is none of those trained on" in line


def test_truncated_files_are_named_and_counted(here, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (here / "set" / name).mkdir(parents=True)
        for number in range(3):
            image = Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8))
            image.save(here / "set" / name / f"{number}.png")
    broken = here / "set" / "a" / "1.png"
    broken.write_bytes(broken.read_bytes()[:200])
    line = refused(monkeypatch, capsys, "--data", "set", "--folds", "2", "--batch-size", "2")
    assert "1 of 6 image files cannot be read (a/1.png)" in line
    assert "--skip-broken" in line


@pytest.mark.parametrize("argv", [["--fodls", "5"], ["--precision", "fp23"], ["--folds", "five"]])
def test_the_parser_names_what_is_allowed(here, monkeypatch, capsys, argv):
    monkeypatch.setattr(sys, "argv", ["cv", *argv])
    with pytest.raises(SystemExit) as stop:
        cli.run(cv.main)
    assert stop.value.code == 2
    words = "".join(capsys.readouterr())
    assert {"--fodls": "--folds", "--precision": "bf16", "--folds": "five"}[argv[0]] in words


def test_learning_rates_are_found_and_nothing_is_left(here, monkeypatch, capsys):
    words = ["--data", "digits", "--limit", "300", "--weights", "none", "--backbone", "test_resnet"]
    monkeypatch.setattr(sys, "argv", ["cv", *words, "--stages", "1:2:1e-5", "--lr-find"])
    assert cli.run(cv.main) == 0
    table, flag = capsys.readouterr().out.splitlines()[-2:]
    assert table.startswith("1:2:1e-05 ")
    assert re.fullmatch(r"--stages 1:2:[\d.e-]+", flag)
    assert flag != "--stages 1:2:1e-05"
    assert not list(here.iterdir())


def test_a_plan_starts_nothing(here, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["cv", "--data", "digits", "--weights", "none", "--plan"])
    assert cli.run(cv.main) == 0
    told = capsys.readouterr().out
    assert "lane 1    fold 1" in told
    assert "total" in told
    assert not list(here.iterdir())
