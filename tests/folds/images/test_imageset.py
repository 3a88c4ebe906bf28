import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.errors import UserError
from folds.images import ImageSet


def blank(labels, names=None):
    labels = np.asarray(labels, dtype=np.int64)
    ids = np.array([f"{row:04d}" for row in range(len(labels))])
    names = names or tuple(str(c) for c in range(labels.max() + 1))
    return ImageSet(np.zeros((len(labels), 1, 1, 3), np.uint8), labels, names, ids, ids)


@st.composite
def labelled(draw):
    """Labels of 2 to 6 classes of very unequal size, shuffled, and a limit."""
    counts = draw(st.lists(st.integers(1, 60), min_size=2, max_size=6))
    labels = draw(st.permutations(np.repeat(np.arange(len(counts)), counts).tolist()))
    return labels, draw(st.integers(len(counts), len(labels)))


class TestLimited:
    @settings(max_examples=80)
    @given(labelled(), st.integers(0, 99))
    def test_has_the_size_and_every_class_its_share(self, case, seed):
        labels, limit = case
        images = blank(labels)
        few = images.limited(limit, seed=seed)
        share = np.bincount(images.labels) * limit / len(images)
        got = np.bincount(few.labels, minlength=len(share))
        assert len(few) == limit
        assert got.min() >= 1
        if share.min() >= 1:  # else rare classes get one image at the cost of the others
            assert np.abs(got - share).max() < 1
        else:
            assert (got <= np.maximum(np.ceil(share), 1)).all()

    @settings(max_examples=20)
    @given(labelled(), st.integers(0, 99))
    def test_is_deterministic_and_keeps_the_order(self, case, seed):
        images = blank(case[0])
        one, two = (images.limited(case[1], seed=seed) for _ in range(2))
        assert one.digest == two.digest
        assert (np.diff(one.ids.astype(int)) > 0).all()

    def test_other_seeds_choose_others(self):
        images = blank([0, 1] * 50)
        chosen = {images.limited(10, seed=seed).digest for seed in range(5)}
        assert len(chosen) == 5

    def test_no_limit_or_a_large_one_changes_nothing(self):
        images = blank([0, 1, 1])
        assert images.limited(None, seed=0) is images
        assert images.limited(3, seed=0) is images

    def test_fewer_than_classes_is_refused(self):
        with pytest.raises(UserError, match="--limit 2: fewer images than the 3 classes; raise"):
            blank([0, 1, 2, 2]).limited(2, seed=0)


class TestParts:
    def test_counts_name_the_classes(self):
        assert blank([0, 1, 1], ("a", "b")).counts == {"a": 1, "b": 2}

    def test_take_keeps_parts_together(self):
        images = blank([0, 1, 1, 0])
        few = images.take(np.array([3, 1]))
        assert few.ids.tolist() == ["0003", "0001"]
        assert few.labels.tolist() == [0, 1]

    @pytest.mark.parametrize("part", ["labels", "ids", "groups"])
    def test_unequal_lengths_are_refused(self, part):
        images = blank([0, 1, 1])
        parts = {name: getattr(images, name) for name in ("labels", "ids", "groups")}
        parts[part] = parts[part][:2]
        with pytest.raises(UserError, match=f"2 {part} for 3 images: give one for each"):
            ImageSet(images.pixels, parts["labels"], ("a", "b"), parts["ids"], parts["groups"])

    def test_one_class_is_refused(self):
        with pytest.raises(UserError, match=r"only one class \(cat\)"):
            blank([0, 0], ("cat",))

    def test_an_id_twice_is_refused(self):
        ids = np.array(["a", "a"])
        with pytest.raises(UserError, match="ids are not unique"):
            ImageSet(np.zeros((2, 1, 1, 3), np.uint8), np.array([0, 1]), ("a", "b"), ids, ids)


class TestDigest:
    def test_sees_pixels_labels_ids_and_names(self, make_images):
        images = make_images((4, 4))
        pixels = images.pixels.copy()
        pixels[3, 2, 1, 0] ^= 1
        labels = 1 - images.labels
        ids = np.char.add(images.ids, "x")
        names, groups = images.class_names, images.groups
        others = [
            ImageSet(pixels, images.labels, names, images.ids, groups),
            ImageSet(images.pixels, labels, names, images.ids, groups),
            ImageSet(images.pixels, images.labels, ("a", "b"), images.ids, groups),
            ImageSet(images.pixels, images.labels, names, ids, groups),
        ]
        assert len({images.digest, *(other.digest for other in others)}) == 5

    def test_does_not_see_the_order(self, make_images):
        images = make_images((4, 4))
        assert images.take(np.array([3, 1, 0, 2, 7, 6, 4, 5])).digest == images.digest
        swapped = dataclasses.replace(images, pixels=images.pixels[::-1])
        assert swapped.digest != images.digest

    def test_is_that_of_equal_content_in_other_memory(self, make_images):
        images = make_images((4, 4))
        pixels = np.asfortranarray(images.pixels)
        again = ImageSet(pixels, images.labels, images.class_names, images.ids, images.groups)
        assert again.digest == images.digest
