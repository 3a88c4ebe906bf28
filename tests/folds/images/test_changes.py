from dataclasses import replace

import numpy as np
import pytest

from folds.files import DamagedError
from folds.images.changes import changes, write_manifest
from tests.conftest import small_images

IMAGES = small_images((6, 6))
ALL = np.arange(len(IMAGES))


@pytest.fixture
def path(tmp_path):
    write_manifest(tmp_path / "images.npz", IMAGES)
    return tmp_path / "images.npz"


def edited(*, rows=ALL, pixel=None, ids=None, label=None):
    images = IMAGES.take(rows)
    pixels, labels, names = images.pixels.copy(), images.labels.copy(), images.ids.copy()
    if pixel is not None:
        pixels[pixel, 0, 0, 0] ^= 1
    if label is not None:
        labels[label] = 1 - labels[label]
    for row, name in (ids or {}).items():
        names[row] = name
    return replace(images, pixels=pixels, labels=labels, ids=names)


def test_the_same_in_another_order_has_none(path):
    assert changes(path, IMAGES) == ""
    assert changes(path, IMAGES.take(ALL[::-1])) == ""


def test_each_kind_is_named(path):
    assert changes(path, edited(rows=ALL[1:])) == "1 image removed (image0000)"
    assert changes(path, edited(pixel=3)) == "1 image changed (image0003)"
    assert changes(path, edited(label=5)) == "1 image of another class (image0005)"
    assert changes(path, edited(ids={2: "new"})) == (
        "1 image added (new), 1 image removed (image0002)"
    )


def test_another_site_is_one_of_them(tmp_path):
    sites = np.array(["a", "b"] * (len(IMAGES) // 2))
    images = replace(IMAGES, columns={"site": sites})
    write_manifest(tmp_path / "images.npz", images)
    assert changes(tmp_path / "images.npz", images.take(ALL[::-1])) == ""
    moved = np.where(ALL == 3, "c", sites)
    told = changes(tmp_path / "images.npz", replace(images, columns={"site": moved}))
    assert told == "1 image of another site or slice (image0003)"


def test_of_many_the_first_few_are_named(path):
    assert changes(path, edited(rows=ALL[5:])) == (
        "5 images removed (image0000, image0001, image0002 and 2 more)"
    )


def test_a_damaged_file_is_no_comparison(path):
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DamagedError):
        changes(path, IMAGES)
