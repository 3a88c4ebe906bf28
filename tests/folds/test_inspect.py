"""The command: its files, its words, and every kind of bad input."""

import csv
import json
import shlex
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import folds.audit
from folds import cli, inspect
from tests.folds.audit.planted import brute_force, planted, save, save_opinions


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folds.audit, "audit", brute_force, raising=False)
    save(tmp_path / "set.npz", planted())
    return tmp_path


@pytest.fixture
def command(here, monkeypatch, capsys):
    def run(*argv):
        monkeypatch.setattr(sys, "argv", ["inspect", *argv])
        status = cli.run(inspect.main)
        return status, *capsys.readouterr()

    return run


def lines(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class TestAudit:
    def test_the_screen_says_what_was_found_and_what_to_do(self, command):
        status, out, err = command("--data", "set.npz")
        assert (status, err) == (0, "")
        words = {line.split()[0]: line.split()[1] for line in out.splitlines()[:4]}
        assert words == {"images": "46", "junk": "6", "duplicates": "4", "conflicts": "1"}
        assert "2 pictures" in out
        assert "3 exact copies" in out
        assert "inspect/report.html" in out
        assert "python -m distributed.cv --data set.npz --audit drop" in out
        assert "python -m folds.inspect --data set.npz --clean-to clean.npz" in out

    def test_the_table_has_every_image(self, command, here):
        command("--data", "set.npz", "--out", "a/b")
        found = lines(here / "a/b/findings.csv")
        assert len(found) == 46
        assert [line["id"] for line in found if line["junk"] == "1"] == [
            f"{row:07d}" for row in range(36, 42)
        ]
        assert found[43]["cluster"] == "0000001"
        assert [line["exact"] for line in found[42:]] == ["1", "0", "1", "1"]
        assert found[36]["reason"] == "black and white"
        assert float(found[36]["score"]) > 1
        assert (here / "a/b/report.html").stat().st_size > 10_000

    def test_a_cleaned_file_has_nothing_to_report(self, command, here):
        status, out, _ = command("--data", "set.npz", "--clean-to", "clean.npz")
        assert status == 0
        assert "clean.npz: 36 images; the 10 left out are in clean.manifest.csv" in out
        before = (here / "set.npz").read_bytes()
        _, out, _ = command("--data", "clean.npz")
        words = {line.split()[0]: line.split()[1] for line in out.splitlines()[:4]}
        assert words == {"images": "36", "junk": "0", "duplicates": "0", "conflicts": "0"}
        assert "--audit drop" not in out
        assert (here / "set.npz").read_bytes() == before

    def test_of_new_labels(self, command, here):
        first, second = (planted().class_names[label] for label in planted().labels[:2])
        rows = ["id,label,was", f"0000000,,{first}", f"0000001,{first},{second}"]
        (here / "new.csv").write_text("\n".join(rows))
        given = ("--data", "set.npz", "--relabel", "new.csv", "--clean-to", "clean.npz")
        status, out, err = command(*given)
        assert status == 0
        assert err == "note: 1 label changed, 1 image left out by --relabel new.csv\n"
        assert out.startswith("images           45  ")
        with np.load(here / "clean.npz") as clean:
            named = clean["class_names"][clean["labels"]]
            assert clean["original_indices"].tolist() == [int(name) for name in clean["ids"]]
            assert named[clean["ids"] == "0000001"].tolist() == [first]
        left_out = lines(here / "clean.manifest.csv")
        assert [line["original_index"].zfill(7) for line in left_out] == [
            line["id"] for line in left_out
        ]

    def test_features_of_a_network_are_used(self, command, here, monkeypatch):
        seen = {}

        def audit(images, *, deep=None):
            seen["shape"] = deep.shape
            return brute_force(images)

        monkeypatch.setattr(folds.audit, "audit", audit)
        status, _, err = command(
            "--data", "set.npz", "--backbone", "test_resnet", "--weights", "none"
        )
        assert status == 0
        assert "its weights are random" in err
        assert seen["shape"][0] == 46

    def test_a_subset(self, command, here):
        assert command("--data", "set.npz", "--limit", "20")[0] == 0
        assert len(lines(here / "inspect/findings.csv")) == 20

    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_a_table_of_files(self, command, here, suffix):
        images, rows = planted(), []
        for row, pixels in enumerate(images.pixels):
            Image.fromarray(pixels).save(here / f"{row:02d}.png")
            rows.append((f"{row:02d}.png", images.class_names[images.labels[row]], row // 2))
        frame = pd.DataFrame(rows, columns=["path", "label", "group"])
        (frame.to_csv if suffix == "csv" else frame.to_parquet)(f"table.{suffix}", index=False)
        status, out, err = command("--data", f"table.{suffix}")
        assert (status, err) == (0, "")
        words = {line.split()[0]: line.split()[1] for line in out.splitlines()[:4]}
        assert words == {"images": "46", "junk": "6", "duplicates": "4", "conflicts": "1"}
        assert lines(here / "inspect/findings.csv")[45]["id"] == "45.png"
        assert "32 \u00d7 32" in (here / "inspect/report.html").read_text(encoding="utf-8")


class TestSuspects:
    def test_with_images_they_are_in_the_report(self, command, here):
        images = planted()
        ids = np.array([f"{row:07d}" for row in range(len(images))])
        images = type(images)(images.pixels, images.labels, images.class_names, ids, ids)
        save_opinions(here / "oof.npz", images, flipped=[5, 9])
        status, out, _ = command("--data", "set.npz", "--oof", "oof.npz")
        assert status == 0
        assert "2 suspect labels: inspect/suspects.csv" in out
        found = lines(here / "inspect/suspects.csv")
        assert {line["id"] for line in found} == {"0000005", "0000009"}
        assert found[0]["given"] in images.class_names
        assert 'id="suspects"' in (here / "inspect/report.html").read_text(encoding="utf-8")

    def test_without_images_there_is_a_table(self, command, here):
        (here / "run").mkdir()
        save_opinions(here / "run/oof.npz", planted(), flipped=[5], repeats=2)
        (here / "run/summary.json").write_text(json.dumps({"class_names": ["x", "[red]", "z"]}))
        status, out, _ = command("--oof", "run")
        assert status == 0
        assert "image0005" in out
        assert not (here / "inspect/report.html").exists()
        (line,) = lines(here / "inspect/suspects.csv")
        assert line["id"] == "image0005"
        assert line["suggested"] in ("x", "[red]", "z")

    def test_none_is_said(self, command, here):
        save_opinions(here / "oof.npz", planted())
        status, out, _ = command("--oof", "oof.npz")
        assert (status, out) == (0, "0 suspect labels: inspect/suspects.csv\n")
        assert lines(here / "inspect/suspects.csv") == []


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("", "nothing to look at"),
        ("--data nowhere", "--data nowhere: no such file or folder"),
        ("--data broken.npz", "--data broken.npz: not a readable .npz file"),
        ("--data set.npz --out set.npz/x", "--out set.npz/x: "),
        ("--data set.npz --clean-to set.npz", "--data is never changed"),
        ("--data set.npz --clean-to clean.zip", "--clean-to clean.zip: name it .npz"),
        ("--data set.npz --clean-to broken.npz/x.npz", "no folder that can be written to"),
        ("--data set.npz --clean-to c.npz --limit 9", "--limit 9: a cleaned file"),
        ("--oof run --clean-to c.npz", "--clean-to c.npz: name the images too"),
        ("--data set.npz --weights x.pt", "--weights x.pt: name their model too"),
        ("--data set.npz --backbone resnet19", "--backbone resnet19: timm has no such model"),
        ("--data set.npz --backbone test_resnet --weights x.pt", "--weights x.pt: no such file"),
        ("--oof run --relabel new.csv", "--relabel new.csv: name the images too"),
        ("--data set.npz --relabel new.csv", "--relabel new.csv: No such file"),
        ("--data set.npz --limit 0", "--limit 0: must be greater"),
        ("--data set.npz --oof nowhere", "--oof nowhere: no nowhere"),
        ("--oof broken.npz", "--oof broken.npz: not a readable oof.npz"),
        ("--data set.npz --oof other.npz", "ids are not in --data"),
    ],
)
def test_bad_input_is_one_line(command, here, argv, words):
    (here / "broken.npz").write_bytes(b"PK\x03\x04 cut short")
    save_opinions(here / "other.npz", planted())
    status, out, err = command(*shlex.split(argv))
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err
    assert not (here / "inspect").exists()


def test_help_names_every_flag(command, capsys):
    with pytest.raises(SystemExit):
        command("--help")
    text = capsys.readouterr().out
    for flag in ("data", "out", "clean-to", "oof", "backbone", "weights", "limit"):
        assert f"--{flag}" in text
