from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.audit.confounding import (
    TOLD,
    classes_within,
    colour_statistics,
    confounding,
    site_aucs,
)
from folds.config import Config
from folds.prepare import prepare
from tests.conftest import small_images
from tests.folds.splits.test_make import image_set

COUNTS = (60, 60, 40)


def stained(images, sites, by=25):
    """Images whose colours tell that they are of site b, and nothing else does."""
    there = (sites == "b")[:, None, None, None]
    pixels = np.clip(images.pixels.astype(int) + there * np.array([by, 0, -by]), 0, 255)
    return replace(images, pixels=pixels.astype(np.uint8), columns={"site": sites})


def drawn(count, seed=0, names="ab"):
    return np.random.default_rng(seed).choice(list(names), count)


class TestColours:
    def test_that_tell_a_site_are_told(self):
        images = small_images(COUNTS, side=8)
        images = stained(images, drawn(160))
        assert min(site_aucs(images, images.sites).values()) > 0.99
        (told,) = confounding(images)
        assert told.startswith("colours alone tell 2 of 2 sites from the others, at equal class: ")
        assert "--split-by site" in told
        assert "\n" not in told

    @pytest.mark.parametrize("seed", range(5))
    def test_of_sites_drawn_at_random_tell_nothing(self, seed):
        images = small_images(COUNTS, side=8, seed=seed)
        found = site_aucs(images, drawn(160, seed, "abc"))
        assert set(found) == {"a", "b", "c"}
        assert max(found.values()) < TOLD - 0.1

    def test_that_are_those_of_the_classes_tell_nothing(self):
        """A site of other class shares has other colours, which is no fault of the site."""
        images = small_images((80, 80), side=8)
        chance = np.where(images.labels == 0, 0.9, 0.1)
        sites = np.where(np.random.default_rng(0).random(160) < chance, "a", "b")
        assert max(site_aucs(images, sites).values()) < TOLD - 0.1

    def test_sites_of_few_images_or_without_common_classes_are_not_judged(self):
        images = small_images(COUNTS, side=8)
        few = np.where(np.arange(160) < 19, "b", "a")
        assert site_aucs(images, few) == {}
        assert site_aucs(images, np.array(["a", "b", "c"])[images.labels]) == {}

    def test_are_judged_in_whole_groups(self):
        """Colours of the patients, three a site, do not make a laboratory."""
        images = small_images((120, 120), side=8)
        rng = np.random.default_rng(1)
        patient = rng.integers(0, 12, 240)
        cast = rng.integers(-40, 40, (12, 3))[patient][:, None, None]
        pixels = np.clip(images.pixels.astype(int) + cast, 0, 255).astype(np.uint8)
        images = replace(images, pixels=pixels)
        sites = np.where(patient % 2 == 0, "a", "b")
        alone = min(site_aucs(images, sites).values())
        together = min(site_aucs(replace(images, groups=patient.astype(str)), sites).values())
        assert together < alone - 0.1

    @settings(max_examples=10)
    @given(st.permutations(range(60)))
    def test_do_not_depend_on_the_order_of_the_images(self, order):
        images = small_images((30, 30), side=4)
        images = stained(images, drawn(60), by=5)
        other = images.take(np.array(order))
        assert site_aucs(images, images.sites) == site_aucs(other, other.sites)

    def test_are_quantiles_of_each_channel(self):
        images = small_images((3, 2), side=8)
        found = colour_statistics(images, np.array([4, 1]))
        expected = np.quantile(images.pixels[4], [0.05, 0.25, 0.5, 0.75, 0.95], axis=(0, 1)) / 255
        assert found.shape == (2, 15)
        np.testing.assert_allclose(found[0], expected.ravel())


class TestClasses:
    @pytest.mark.parametrize(
        ("places", "within"),
        [
            ("aab aab bbb", {"c2": ("b", 1.0)}),
            ("aab aab aab", {}),
            ("aaa aaa aaa", {}),
            ("aaa bbb ccc", {"c0": ("a", 1.0), "c1": ("b", 1.0), "c2": ("c", 1.0)}),
        ],
    )
    def test_within_one_place_are_found(self, places, within):
        names = np.array([letter for letter in places if letter != " "])
        found = classes_within(image_set([0, 0, 0, 1, 1, 1, 2, 2, 2]), names)
        assert {one.name: (one.place, one.share) for one in found} == within

    def test_nearly_within_one_are_found_where_others_are_not_there_too(self):
        labels = np.repeat([0, 1], 100)
        here = np.where(np.arange(200) % 100 < 97, "a", "b")
        assert classes_within(image_set(labels), here) == []
        mixed = np.where(labels == 1, np.where(np.arange(200) % 2 == 0, "a", "b"), here)
        (found,) = classes_within(image_set(labels), mixed)
        assert (found.name, found.place, found.share) == ("c0", "a", pytest.approx(0.97))

    def test_are_told_with_what_to_do(self):
        images = image_set([0, 0, 1, 1, 1, 1], groups=["p", "p", "p", "p", "q", "q"])
        (told,) = confounding(images)
        assert told.startswith("a class lies (nearly) within one group: 'c0' (all in p); a model")
        assert "add images of other groups" in told

    def test_without_groups_and_sites_nothing_is_told(self):
        assert confounding(image_set([0, 0, 1, 1])) == []


def test_a_run_tells_before_anything_is_trained():
    settings = {
        "data": ["a=demo", "b=demo-lab2"], "limit": 200, "backbone": "test_resnet",
        "weights": "none", "folds": 2, "batch_size": 8, "audit": "off", "image_size": 32,
    }  # fmt: skip
    notices = prepare(Config.from_flat(settings)).notices
    assert any(line.startswith("colours alone tell 2 of 2 sites") for line in notices)
