"""Arrays are read as images: what is white, what a row is, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given as drawn
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from folds.config import DataConfig
from folds.errors import UserError
from folds.images.given import as_pixels, from_dataset, given, image_set

bytes_of = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 6), st.sampled_from([1, 3]))
)


@drawn(bytes_of)
def test_a_row_is_a_flattened_square(drawn_bytes):
    count, side, channels = drawn_bytes.shape
    images = np.resize(drawn_bytes, (count, side, side, channels))
    expected = np.broadcast_to(images, (count, side, side, 3))
    np.testing.assert_array_equal(as_pixels(images), expected)
    np.testing.assert_array_equal(as_pixels(images.reshape(count, -1)), expected)
    if channels == 1:
        np.testing.assert_array_equal(as_pixels(images[..., 0]), expected)


@drawn(bytes_of)
def test_numbers_of_any_kind_are_the_same_bytes(drawn_bytes):
    grey = drawn_bytes
    expected = as_pixels(grey)
    for same in (grey.astype(np.int64), grey / 255, (grey / 255).astype(np.float32)):
        np.testing.assert_array_equal(as_pixels(same), expected)
    np.testing.assert_array_equal(as_pixels(grey * 16.0, levels=255 * 16), expected)
    np.testing.assert_array_equal(as_pixels(grey.astype(np.uint16) * 257, levels=65535), expected)


def test_above_what_is_white_all_is_white():
    assert as_pixels(np.array([[[7.0, 16.0, 99.0]]]), levels=16)[0, 0, :, 0].tolist() == [
        112, 255, 255,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.zeros((2, 3, 8, 8), np.uint8), "move the channels to the end"),
        (np.zeros((2, 10), np.uint8), "10 values a row are no square image"),
        (np.zeros(5, np.uint8), r"have shape \(5,\)"),
        (np.zeros((0, 4, 4), np.uint8), "have shape"),
        (np.full((1, 4, 4), 300), "int64 values up to 300, above 255; say with levels"),
        (np.full((1, 4, 4), 1.5), "float64 values up to 1.5, above 1; say with levels"),
        (np.full((1, 4, 4), -1), "have values from -1 to -1"),
        (np.full((1, 4, 4), np.nan), "have values from nan"),
        (np.full((1, 4, 4), "a"), "have dtype <U1"),
    ],
)
def test_what_is_no_image_is_refused(values, told):
    with pytest.raises(UserError, match=told):
        as_pixels(values)


@pytest.mark.parametrize(("asked", "side"), [("auto", 12), (8, 8), (64, 12)])
def test_images_come_in_the_size_that_is_asked_for(asked, side):
    pixels = np.zeros((4, 12, 12, 3), np.uint8)
    images = image_set(pixels, [0, 1, 0, 1], ["a", "b"], groups=[1, 1, 2, 2])
    assert images.groups.tolist() == ["1", "1", "2", "2"]
    found = given(images)(DataConfig(image_size=asked, limit=2), seed=0, largest=32)
    assert found.pixels.shape == (2, side, side, 3)
    assert sorted(found.labels.tolist()) == [0, 1]


class Items(list):
    """A map-style data set, as torch knows one."""


def pictures(side=6, count=4):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "kind",
    [
        Image.fromarray,
        np.asarray,
        lambda one: torch.from_numpy(one).movedim(-1, 0),
        lambda one: torch.from_numpy(one).movedim(-1, 0) / 255,
        lambda one: Image.fromarray(one).convert("RGBA"),
    ],
)
@pytest.mark.parametrize("label", [int, np.int64, lambda one: np.array([one]), torch.tensor])
def test_a_data_set_of_torch_is_those_images(kind, label):
    pixels = pictures()
    items = Items((kind(one), label(row % 2)) for row, one in enumerate(pixels))
    images = from_dataset(items, groups=[1, 1, 2, 2])
    np.testing.assert_array_equal(images.pixels, pixels)
    assert images.labels.tolist() == [0, 1, 0, 1]
    assert images.class_names == ("0", "1")
    assert images.groups.tolist() == ["1", "1", "2", "2"]
    items.classes = ["none", "a", "b"]
    shifted = Items((image, number + 1) for image, number in zip(pixels, [0, 1] * 2, strict=True))
    shifted.classes = items.classes
    assert from_dataset(shifted).class_names == ("a", "b")
    assert from_dataset(shifted, class_names=["x", "y", "z"]).class_names == ("y", "z")


def test_a_data_set_of_several_sizes_is_brought_to_one():
    items = [(pictures(4)[0], "a"), (pictures(8)[0], "b")]
    with pytest.raises(UserError, match="several sizes; say to which side"):
        from_dataset(items)
    assert from_dataset(items, size=6).pixels.shape == (2, 6, 6, 3)


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ([], "no items"),
        (iter([1]), "has no length"),
        ([7, 8], "item 0 is no pair"),
        ([(pictures()[0], [1, 0]), (pictures()[1], [0, 1])], "no single integers or texts"),
        ([(pictures()[0] - 1.5, 0), (pictures()[1], 1)], "images: have values from"),
    ],
)
def test_what_is_no_data_set_of_images_is_refused(items, told):
    with pytest.raises(UserError, match=told):
        from_dataset(items)


def test_labels_beyond_the_class_names_are_refused():
    with pytest.raises(UserError, match="labels run from 0 to 1 but there are 1 class names"):
        from_dataset([(pictures()[0], 0), (pictures()[1], 1)], class_names=["a"])
