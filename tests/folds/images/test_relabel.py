"""Corrected labels: what they change, what is refused, and what a run remembers of them."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest

from distributed.workspace import open_run
from folds.config import Config
from folds.errors import UserError
from folds.images.imageset import ImageSet
from folds.images.pixelfile import write_pixels
from folds.images.relabel import relabelled
from folds.prepare import prepare

IDS = ("a/1.png", 'b/"2", x.png', "c/3.png", "c/4.png", "0000005", "ü.png")


@pytest.fixture
def images():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    ids, labels = np.array(IDS), np.array([0, 1, 0, 1, 0, 1])
    site = {"site": np.array(list("xxyyzz"))}
    return ImageSet(pixels, labels, ("ant", "bee, tree"), ids, ids.copy(), ("before",), site)


@pytest.fixture
def table(tmp_path):
    def write(*rows, head=("id", "label", "was"), name="new.csv"):
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([head, *rows])
        return str(path)

    return write


def test_labels_change_and_images_go(images, table):
    path = table(
        (IDS[1], "ant", "bee, tree"), (IDS[2], "", "ant"), (IDS[5], "bee, tree", "bee, tree")
    )
    found, done = relabelled(images, path)
    assert found.ids.tolist() == [IDS[0], IDS[1], IDS[3], IDS[4], IDS[5]]
    assert found.labels.tolist() == [0, 0, 1, 0, 1]
    assert (found.pixels == images.pixels[[0, 1, 3, 4, 5]]).all()
    assert found.columns["site"].tolist() == list("xxyzz")
    told = f"1 label changed, 1 image left out by --relabel {path}"
    assert found.notices == ("before", told)
    assert (done.changed, done.left_out, done.rows.tolist()) == (1, 1, [0, 1, 3, 4, 5])
    assert done.by.digest == hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    assert images.labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_without_a_file_nothing_changes(images):
    assert relabelled(images, None) == (images, None)


def test_pixels_in_a_file_are_left_out_too(images, table, tmp_path):
    stored = write_pixels(tmp_path / "pixels.npy", images.pixels, np.arange(6))
    there = ImageSet(stored, images.labels, images.class_names, images.ids, images.groups)
    for _ in range(2):  # as the trials of a search do
        found, _ = relabelled(there, table((IDS[0], "", "ant")))
        assert (found.pixels[:] == images.pixels[1:]).all()


def test_further_columns_and_a_mark_of_the_encoding_are_skipped(images, table):
    path = table(("ü.png", "why", "ant", "bee, tree"), head=("\ufeffid", "note", "label", "was"))
    assert relabelled(images, path)[0].labels.tolist() == [0, 1, 0, 1, 0, 0]


def test_a_subset_may_lack_images(images, table):
    path = table((IDS[1], "ant", "bee, tree"), ("d/7.png", "ant", "bee, tree"))
    found, _ = relabelled(images, path, limited=True)
    assert found.notices[-1].endswith("; --limit leaves out 1 image of it")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("d/7.png", "ant", "ant")], "names 1 image that --data has not (d/7.png); give"),
        (
            [(IDS[0], "bee", "ant")],
            ": 'bee' is no class of --data; nearest: bee, tree",
        ),
        ([(IDS[0], "", "ant")] * 2, "names image a/1.png twice; keep one line an image"),
        ([(IDS[0], "ant", "bee, tree")], "for other labels than --data has of 1 image (a/1"),
        ([(IDS[0], "ant", "")], "(a/1.png: ant, not )"),
        ([(IDS[0], "bee, tree")], "line 2 has not as many cells as the first"),
        ([(IDS[0], "ant", "ant", "x")], "line 2 has not as many cells as the first"),
        ([(name, "", "ant") for name in IDS[::2]], "leaves no image of class 'ant'; keep some"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(images, table, rows, words):
    with pytest.raises(UserError) as caught:
        relabelled(images, path := table(*rows))
    assert str(caught.value).startswith(f"--relabel {path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"id,label\na/1.png,ant\n", "has no column 'was'; its columns are id,label,was"),
        (b"id;label;was\n", "has no column 'id'"),
        (b"", "has no column 'id'"),
        (b"id,label,was\n\xff,ant,ant\n", "not a CSV file in UTF-8"),
        (b'id,label,was\n"a', "not a CSV file in UTF-8"),
        (None, "No such file or directory; give the file that the page of"),
    ],
)
def test_what_is_no_such_file_is_refused(images, tmp_path, content, words):
    path = tmp_path / "x.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"^--relabel {path}: ") as caught:
        relabelled(images, str(path))
    assert words in str(caught.value)


class TestRun:
    @pytest.fixture
    def prepared(self):
        settings = {
            "data": "digits", "limit": 120, "folds": 3, "backbone": "test_resnet",
            "weights": "none", "image_size": 8, "shift": "off",
        }  # fmt: skip
        return lambda path: prepare(Config.from_flat(settings | {"relabel": path}))

    def test_uses_the_labels_and_remembers_the_file(self, prepared, table):
        plain = prepared(None)
        before = plain.problem.images
        first, second = before.ids[:2].tolist()
        was = [before.class_names[label] for label in before.labels[:2].tolist()]
        other = next(name for name in before.class_names if name != was[0])
        run = prepared(table((first, other, was[0]), (second, "", was[1])))
        images = run.problem.images
        assert images.class_names[images.labels[images.ids.tolist().index(first)]] == other
        assert second not in images.ids
        assert any(n.startswith("1 label changed, 1 image left out by") for n in run.notices)
        assert run.digests["relabel_digest"] == run.relabelled.by.digest
        assert "relabel_digest" not in plain.digests
        for name in ("config_digest", "data_digest", "splits_digest"):
            assert run.digests[name] != plain.digests[name]

    def test_does_not_go_on_with_another_file_of_that_name(
        self, prepared, table, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        images = prepared(None).problem.images
        was = images.class_names[images.labels[0]]
        run = prepared(table((images.ids[0], "", was)))
        space = open_run(None, run.problem.config, run.digests, run.problem.images)
        again = prepared(table((images.ids[1], "", images.class_names[images.labels[1]])))
        with pytest.raises(UserError, match=f"--resume {space.name}: 1 image added "):
            open_run(space.name, again.problem.config, again.digests, again.problem.images)
