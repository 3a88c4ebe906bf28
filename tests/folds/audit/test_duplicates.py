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
from folds.images.demo import cells


@pytest.fixture(scope="module")
def demo():
    return cells(300).pixels


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


def noisy(image, seed, sigma=8):
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return (image + noise).round().clip(0, 255).astype(np.uint8)


AUGMENTED = {
    "JPEG q75": lambda image, _: recompressed(image, 75),
    "JPEG q50": lambda image, _: recompressed(image, 50),
    "noise of sigma 8": noisy,
    "brightness 1.3": lambda image, _: brighter(image, 1.3),
    "mirrored": lambda image, _: image[:, ::-1],
    "mirrored, JPEG q75": lambda image, _: recompressed(image[:, ::-1].copy(), 75),
}


def recall_and_false_joins(images, kinds, share, *, times=1):
    """Share of the augmented copies that are with their originals, and pairs that are wrong."""
    source = np.tile(np.arange(round(share * len(images))), times)
    added = [kinds[n % len(kinds)](images[row], n) for n, row in enumerate(source.tolist())]
    found = find_duplicates(describe(np.concatenate([images, np.stack(added)])))
    source = np.concatenate([np.arange(len(images)), source])
    right = found.cluster == found.cluster[source]
    wrong = source[found.pairs[:, 0]] != source[found.pairs[:, 1]]
    return right[len(images) :].mean(), wrong.sum()


@pytest.mark.parametrize("share", [0.4, 1.0])
@pytest.mark.parametrize("kind", AUGMENTED)
def test_copies_are_found_where_most_images_have_one(demo, kind, share):
    recall, wrong = recall_and_false_joins(demo[::2], [AUGMENTED[kind]], share)
    assert recall >= 0.95
    assert wrong == 0


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.3, 0.4, 0.6, 1.0])
@pytest.mark.parametrize("kind", AUGMENTED)
@pytest.mark.parametrize("source", ["demo", "pbc96"])
def test_copies_are_found_whatever_the_share_of_images_that_have_one(
    request, source, kind, share, capsys
):
    if source == "demo":
        images = cells(300)
    else:
        data = str(request.getfixturevalue("shared") / "data" / source)
        images = load(DataConfig(data=data, limit=300), seed=0, largest=96)
    recall, wrong = recall_and_false_joins(np.asarray(images.pixels), [AUGMENTED[kind]], share)
    with capsys.disabled():
        print(f"\n{source}, {kind}, {share:.0%}: recall {recall:.3f}, {wrong} false joins")
    assert recall >= 0.95
    assert wrong == 0


@pytest.mark.parametrize("times", [3, 20])
def test_copies_are_found_where_each_image_has_many(demo, times):
    kinds = list(AUGMENTED.values())
    recall, wrong = recall_and_false_joins(demo[::6], kinds, 1.0, times=times)
    assert recall >= 0.95
    assert wrong == 0


def test_different_things_that_look_alike_are_not_joined(demo, make_images):
    digits = load(DataConfig(data="digits", limit=400), seed=0, largest=32).pixels
    assert len(find_duplicates(describe(digits)).pairs) == 0
    few_patterns = np.stack([noisy(demo[n % 3], n, sigma=20) for n in range(60)])
    assert len(find_duplicates(describe(few_patterns)).pairs) == 0
    assert len(find_duplicates(describe(make_images((20, 20)).pixels)).pairs) == 0


def test_many_changed_copies_of_one_picture_are_one_cluster(demo):
    copies = np.stack([recompressed(demo[0], quality) for quality in range(40, 95)])
    found = find_duplicates(describe(np.concatenate([demo[:100], copies])))
    assert set(found.cluster[100:]) == {0}
    assert len(np.unique(found.cluster[1:100])) == 99


@settings(max_examples=25)
@given(st.integers(0, 299), st.integers(0, 7), st.floats(0.7, 1.0))
def test_what_an_image_looks_like_does_not_depend_on_its_turn(demo, row, turn, brightness):
    image = demo[row]
    turned = np.rot90(image[:, ::-1] if turn > 3 else image, turn % 4)
    two = describe(np.stack([image, np.ascontiguousarray(turned)]))
    np.testing.assert_allclose(two.statistics[0], two.statistics[1], atol=1e-4)
    np.testing.assert_allclose(two.fingerprints[0], two.fingerprints[1], atol=1e-4)
    darker = describe(np.stack([image, (image * brightness).astype(np.uint8)]))
    assert (darker.fingerprints[0] * darker.fingerprints[1]).sum(-1).min() > 0.98


@settings(max_examples=25)
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
