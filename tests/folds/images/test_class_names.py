import csv
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from folds.config import DataConfig
from folds.errors import UserError
from folds.images import load, load_unlabelled
from folds.images.class_names import check_names
from tracking.figures import confusion_figure

PICTURE = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))


def class_folders(root, *names, file="1.png"):
    for name in names:
        folder = root / os.fsdecode(name)
        folder.mkdir(parents=True)
        PICTURE.save(folder / os.fsdecode(file))
    return DataConfig(data=str(root))


@pytest.fixture
def sources(tmp_path):
    """The same two classes as a folder, a table and an .npz file."""

    def make(one, other):
        yield class_folders(tmp_path / "folder", one, other)
        with (tmp_path / "table.csv").open("w", newline="", encoding="utf-8") as file:
            rows = [("path", "label")]
            rows += [(f"folder/{name}/1.png", name) for name in (one, other)]
            csv.writer(file).writerows(rows)
        yield DataConfig(data=str(tmp_path / "table.csv"))
        pixels = np.zeros((2, 8, 8, 3), np.uint8)
        names = np.array([one, other])
        for arrays in ({"labels": names}, {"labels": np.arange(2), "class_names": names}):
            np.savez(tmp_path / "set.npz", images=pixels, **arrays)
            yield DataConfig(data=str(tmp_path / "set.npz"))

    return make


@pytest.mark.parametrize(
    ("one", "other"),
    [("Blast", "blast"), ("T cell", "Tcell"), ("caf\xe9", "cafe\u0301"), ("\uff42last", "blast"),
     ("a\u200bb", "ab"), ("STRASSE", "stra\xdfe")],
)  # fmt: skip
def test_classes_whose_names_look_alike_are_told_from_every_source(sources, one, other):
    for config in sources(one, other):
        images = load(config, seed=0, largest=8)
        (notice,) = images.notices
        shown = [format(one) in notice and format(other) in notice for format in (repr, ascii)]
        assert any(shown)
        assert set(images.class_names) == {one, other}


def test_names_that_look_the_same_are_written_so_that_they_differ():
    (notice,) = check_names("x", ["caf\xe9", "cafe\u0301"], [])
    assert notice.startswith(r"classes 'caf\xe9', 'cafe\u0301' differ in case, blanks or Unicode")


def test_other_names_are_not_told_of(sources):
    for config in sources("B-cell", "T-cell"):
        assert load(config, seed=0, largest=8).notices == ()


def test_control_characters_are_refused_from_every_source(sources):
    for config in sources("a\x1b[31mb", "c"):
        with pytest.raises(UserError, match=r"class name 'a\\x1b\[31mb' holds control char"):
            load(config, seed=0, largest=8)


def test_two_classes_of_one_name_are_refused(tmp_path):
    np.savez(
        tmp_path / "set.npz", images=np.zeros((3, 8, 8, 3), np.uint8), labels=np.arange(3),
        class_names=np.array(["cell", "cell", "mono"]),
    )  # fmt: skip
    with pytest.raises(UserError, match="several classes are called 'cell'; give each its own"):
        load(DataConfig(data=str(tmp_path / "set.npz")), seed=0, largest=8)


def test_a_folder_that_is_not_utf8_is_named(tmp_path):
    config = class_folders(tmp_path, b"Bl\xe4st", b"mono")
    with pytest.raises(UserError, match=r"class name 'Bl\\udce4st' is not UTF-8; rename") as caught:
        load(config, seed=0, largest=8)
    assert str(caught.value).encode()
    with pytest.raises(
        UserError, match=r"1 of 2 file names are not UTF-8 \('Bl\\udce4st/1\.png'\)"
    ):
        load_unlabelled(str(tmp_path), size=8)


def test_files_that_are_not_utf8_are_named(tmp_path):
    config = class_folders(tmp_path, "blast", "mono", file=b"\xe4.png")
    with pytest.raises(UserError, match=r"2 of 2 file names are not UTF-8 \('blast/\\udce4\.png'"):
        load(config, seed=0, largest=8)


def test_a_path_that_is_not_utf8_is_named(tmp_path):
    config = class_folders(tmp_path / os.fsdecode(b"\xe4"), "blast", "mono")
    with pytest.raises(UserError, match=r"--data '.*\\udce4': the path is not UTF-8; rename it"):
        load(config, seed=0, largest=8)


@given(st.lists(st.text(max_size=6), min_size=2, max_size=5))
def test_names_that_pass_can_be_written_and_told_apart(names):
    raised = ""
    try:
        notices = check_names("x", names, names)
    except UserError as error:
        raised = str(error)
    if raised:
        assert raised.encode()
        assert len(raised.splitlines()) == 1
        return
    assert len(set(names)) == len(names)
    assert all(name.strip() and name.encode() and len(name.splitlines()) == 1 for name in names)
    assert all("\n" not in notice for notice in notices)


@pytest.mark.parametrize("name", ["$x$", "cost $5 to $6", r"$\frac{$", "a_b^c", "<&>"])
def test_a_confusion_matrix_shows_names_as_they_are(name, tmp_path):
    figure = confusion_figure(np.eye(2, dtype=np.int64), [name, "other"], "title")
    figure.savefig(tmp_path / "matrix.svg")
    (axes, _) = figure.axes
    assert axes.get_xticklabels()[0].get_text() == name
    assert not axes.get_xticklabels()[0].get_parse_math()
    assert not axes.get_yticklabels()[0].get_parse_math()
