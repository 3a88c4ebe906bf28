import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from folds.audit.describe import describe
from folds.audit.duplicates import find_duplicates
from folds.config import DataConfig
from folds.images import load


@pytest.fixture(scope="module")
def demo():
    return np.asarray(load(DataConfig(data="demo", limit=300), seed=0, largest=96).pixels)


def recompressed(image, quality):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def brighter(image, factor):
    return np.asarray(ImageEnhance.Brightness(Image.fromarray(image)).enhance(factor))


CHANGES = {
    "copied": lambda image: image,
    "recompressed": lambda image: recompressed(image, 60),
    "darker": lambda image: brighter(image, 0.8),
    "brighter": lambda image: brighter(image, 1.25),
    "mirrored": lambda image: image[:, ::-1],
    "turned": lambda image: np.rot90(image),
    "all of it": lambda image: recompressed(brighter(np.rot90(image[::-1]), 0.9).copy(), 75),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_nothing_else(demo, change):
    changed = np.stack([CHANGES[change](image) for image in demo[:60]])
    found = find_duplicates(describe(np.concatenate([demo, changed])))
    told = {tuple(pair) for pair in found.pairs.tolist()}
    real = {(row, len(demo) + row) for row in range(60)}
    assert len(told & real) >= 0.95 * len(real)
    assert len(told & real) >= 0.95 * len(told)
    assert found.exact.sum() == (60 if change == "copied" else 0)


def test_many_changed_copies_of_one_picture_are_one_cluster(demo):
    copies = np.stack([recompressed(demo[0], quality) for quality in range(40, 95)])
    found = find_duplicates(describe(np.concatenate([demo[:100], copies])))
    assert set(found.cluster[100:]) == {0}
    assert len(np.unique(found.cluster[1:100])) == 99


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 299), st.integers(0, 7), st.floats(0.7, 1.0))
def test_what_an_image_looks_like_does_not_depend_on_its_turn(demo, row, turn, brightness):
    image = demo[row]
    turned = np.rot90(image[:, ::-1] if turn > 3 else image, turn % 4)
    two = describe(np.stack([image, np.ascontiguousarray(turned)]))
    np.testing.assert_allclose(two.statistics[0], two.statistics[1], atol=1e-4)
    np.testing.assert_allclose(two.fingerprints[0], two.fingerprints[1], atol=1e-4)
    darker = describe(np.stack([image, (image * brightness).astype(np.uint8)]))
    assert (darker.fingerprints[0] * darker.fingerprints[1]).sum(-1).min() > 0.98


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=40))
def test_copies_form_the_clusters_of_their_pixels(demo, rows):
    found = find_duplicates(describe(demo[rows]))
    first = [rows.index(row) for row in rows]
    assert found.cluster.tolist() == first
    assert found.exact.tolist() == [row != place for place, row in enumerate(first)]
    assert len(found.pairs) == len(rows) - len(set(rows))


def test_flat_frames_of_different_colours_are_different():
    frames = np.stack([np.full((32, 32, 3), value, np.uint8) for value in (0, 80, 160, 255)])
    assert find_duplicates(describe(frames)).cluster.tolist() == [0, 1, 2, 3]
