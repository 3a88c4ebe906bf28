import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from folds.adaptation import Appearance, appearance_of, bring, looks_of, unlike
from folds.adaptation.appearance import QUANTILES

BOTH = ("colour", "framing")


def discs(count, *, seed=0, radius=(0.25, 0.35), ground=0.8, cell=0.3, side=48):
    """Dark discs on a light ground, each of its own radius, with a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(*2 * [np.linspace(-1, 1, side)], indexing="ij")
    far = np.hypot(x, y)[None] < rng.uniform(*radius, count)[:, None, None]
    tone = np.where(far, cell, ground) + rng.normal(0, 0.01, (count, side, side))
    images = tone[:, None] * np.array([1.0, 0.9, 0.95])[None, :, None, None]
    light = rng.uniform(0.95, 1.05, (count, 1, 1, 1))
    return torch.from_numpy((images * light).clip(0, 1)).float()


@pytest.fixture(scope="module")
def appearance():
    return appearance_of([discs(200), discs(100, seed=1)], [0.5, 0.5])


class TestAppearance:
    def test_levels_are_quantiles(self):
        images = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
        expected = np.quantile(images.flatten(2).numpy(), QUANTILES, axis=2).transpose(1, 2, 0)
        np.testing.assert_allclose(looks_of(images).levels.numpy(), expected, atol=1e-6)

    def test_an_object_is_found_where_it_is_and_as_large(self):
        """A disc's root mean square radius is its radius over the root of two."""
        for radius in (0.2, 0.4):
            found = looks_of(discs(8, radius=(radius, radius), side=96)).foreground
            assert found.found.all()
            assert found.centre.abs().max() < 0.05
            np.testing.assert_allclose(found.radius, radius / np.sqrt(2), rtol=0.2)

    def test_a_flat_picture_has_no_object(self):
        assert not looks_of(torch.full((1, 3, 48, 48), 0.5)).foreground.found.any()

    def test_mean_of_equals_is_the_same(self, appearance):
        mean = Appearance.mean([appearance, appearance])
        np.testing.assert_allclose(mean.levels, appearance.levels)
        np.testing.assert_allclose(mean.radius, appearance.radius)

    @pytest.mark.parametrize(
        "change", [{"levels": (((0.1,),),)}, {"limit": -1.0}, {"shares": (0.5, 0.1)}]
    )
    def test_what_no_images_have_is_refused(self, appearance, change):
        values = {n: getattr(appearance, n) for n in ("levels", "limit", "radius", "shares")}
        with pytest.raises(ValueError, match="appearance"):
            Appearance(**(values | change))


class TestBring:
    def test_training_like_images_come_back_to_the_last_bit(self, appearance):
        images = discs(100, seed=2)
        colour, framing = unlike(looks_of(images), appearance)
        alike = ~(colour | framing)
        assert alike.float().mean() > 0.7
        assert torch.equal(bring(images.clone(), appearance, BOTH)[alike], images[alike])

    def test_another_light_is_taken_back(self, appearance):
        other = discs(50, seed=3, ground=0.45, cell=0.25)
        assert unlike(looks_of(other), appearance)[0].all()
        after = bring(other, appearance, ["colour"])
        assert not unlike(looks_of(after), appearance)[0].any()

    def test_another_framing_is_taken_back(self, appearance):
        other = discs(50, seed=3, radius=(0.5, 0.55))
        assert unlike(looks_of(other), appearance)[1].all()
        after = looks_of(bring(other, appearance, ["framing"])).foreground.radius
        assert (after < appearance.radius[3] * 1.1).all()
        assert (after > appearance.radius[0] * 0.9).all()

    @given(st.integers(0, 99), st.integers(1, 4))
    def test_an_image_does_not_depend_on_the_others(self, seed, size):
        appearance = appearance_of([discs(60)], [1.0])
        images = discs(5, seed=seed, ground=0.5, radius=(0.3, 0.7))
        whole = bring(images, appearance, BOTH)
        torch.testing.assert_close(bring(images[:size], appearance, BOTH), whole[:size])
        assert whole.min() >= 0
        assert whole.max() <= 1

    def test_nothing_asked_is_nothing_done(self, appearance):
        images = discs(3, ground=0.4)
        assert bring(images, appearance, ()) is images
