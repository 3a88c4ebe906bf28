import math

import kornia.color as kc
import kornia.enhance as ke
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from folds.augment import colour
from folds.augment.draws import Draw
from folds.config.policies import OPERATIONS
from tests.folds.augment.pictures import SIDE, images, numbers


def mid_grey(count=6):
    """Images that no moderate change of colour drives out of [0, 1]."""
    return images(count, low=110, high=146)


def drawn(name, own, **strengths):
    return Draw(name, np.arange(len(own)), np.asarray(own, np.float32), strengths)


def change(image, *draws):
    return colour.recolour(image, draws)


KORNIAS = {
    "brightness": ke.adjust_brightness_accumulative,
    "contrast": ke.adjust_contrast_with_mean_subtraction,
    "saturation": ke.adjust_saturation_with_gray_subtraction,
}


class TestEqualsKornia:
    @pytest.mark.parametrize("name", KORNIAS)
    def test_each_alone(self, name):
        image, own = mid_grey(), numbers(6, 1)
        factor = torch.from_numpy(1 + 0.3 * (2 * own[:, 0] - 1))
        found = change(image, drawn(name, own, max=0.3))
        assert_close(found, KORNIAS[name](image, factor), atol=1e-5, rtol=0)
        assert (found - image).abs().max() > 0.005

    @pytest.mark.parametrize(
        "order",
        [("brightness", "contrast", "saturation"), ("saturation", "brightness", "contrast")],
    )
    def test_one_after_another_in_the_order_of_the_list(self, order):
        image, own = mid_grey(16), numbers(16, 3)
        theirs = image
        for index, name in enumerate(order):
            theirs = KORNIAS[name](theirs, torch.from_numpy(1 + 0.3 * (2 * own[:, index] - 1)))
        draws = [drawn(name, own[:, i : i + 1], max=0.3) for i, name in enumerate(order)]
        assert 0 < theirs.min() < theirs.max() < 1
        assert_close(change(image, *draws), theirs, atol=1e-5, rtol=0)

    def test_grey(self):
        image = images()
        found = change(image, drawn("grey", np.ones((6, 1)), max=1.0))
        assert_close(found, kc.rgb_to_grayscale(image).expand(-1, 3, -1, -1), atol=1e-5, rtol=0)

    def test_hue_at_a_third_of_a_turn(self):
        image = images()
        for number, sign in ((5 / 6, 1), (1 / 6, -1)):
            ours = change(image, drawn("hue", np.full((6, 1), number), max=0.5))
            theirs = ke.adjust_hue(image, torch.full((6,), sign * 2 * math.pi / 3))
            assert_close(ours, theirs, atol=1e-4, rtol=0)

    @pytest.mark.parametrize("turn", [-0.02, 0.01, 0.02])
    def test_small_turns_turn_the_hue_about_as_far(self, turn):
        image = images() * 0.5 + 0.25  # no clipping
        image = image[..., (image.amax(1) - image.amin(1)).amin((0, 1)) > 0.02]  # hue is defined
        angle = torch.tensor([2 * math.pi * turn])
        ours = change(image, drawn("hue", np.full((6, 1), 0.5 + turn), max=0.5))
        theirs = ke.adjust_hue(image, angle.expand(6))
        before, turned, wanted = (kc.rgb_to_hsv(one)[:, 0] for one in (image, ours, theirs))

        def apart(one, two):
            return torch.remainder(one - two + math.pi, 2 * math.pi) - math.pi

        assert_close(apart(wanted, before), angle.expand_as(before), atol=1e-3, rtol=0)
        assert apart(turned, wanted).abs().max() < 0.25 * angle.abs()
        assert (ours - theirs).abs().max() < 5 * abs(turn)


class TestShuffle:
    def test_finds_all_six_orders_and_keeps_the_values(self):
        image = images(1)
        own = (np.arange(6)[:, None] + 0.5) / 6
        found = change(image.expand(6, -1, -1, -1), drawn("channel_shuffle", own))
        assert_close(found[0], image[0])
        assert len({tuple(one.mean((1, 2)).tolist()) for one in found}) == 6
        for one in found:
            assert_close(one.sum(0), image[0].sum(0), atol=1e-5, rtol=0)


class TestGreyStaysGrey:
    @settings(max_examples=30)
    @given(
        name=st.sampled_from(["hue", "saturation", "grey", "channel_shuffle"]),
        number=st.floats(0, 0.75, width=32),
        level=st.floats(0.1, 0.9),
    )
    def test_under_changes_of_colour(self, name, number, level):
        image = torch.full((1, 3, 4, 4), level)
        strengths = {} if name == "channel_shuffle" else {"max": 0.5}
        found = change(image, drawn(name, [[number]], **strengths))
        assert_close(found, image, atol=1e-5, rtol=0)


def test_every_entry_of_the_stain_matrix_moves():
    own = numbers(50, 9)
    matrix = colour.stain(own, 0.3)[:, :3, :3]
    np.testing.assert_allclose(matrix - np.eye(3), 0.3 * (2 * own.reshape(-1, 3, 3) - 1), atol=1e-6)


class TestWhiteBalance:
    @settings(max_examples=20)
    @given(own=st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3))
    def test_gives_each_channel_a_factor_within_its_limits(self, own):
        image = mid_grey(1)
        found = change(image, drawn("white_balance", [own], max=0.5))
        factor = torch.exp(0.5 * (2 * torch.tensor(own) - 1))
        assert_close(found, image * factor.view(1, 3, 1, 1), atol=1e-5, rtol=0)

    def test_moves_the_mean_that_contrast_is_about(self):
        image, own = mid_grey(), numbers(6, 3)
        tinted = change(image, drawn("white_balance", own, max=0.3))
        strength = numbers(6, 1, seed=1)
        both = change(
            image, drawn("white_balance", own, max=0.3), drawn("contrast", strength, max=0.3)
        )
        after = change(tinted, drawn("contrast", strength, max=0.3))
        assert_close(both, after, atol=1e-5, rtol=0)


class TestHaze:
    def test_is_a_blend_with_one_colour(self):
        image, own = images(), numbers(6, 4)
        share = 0.8 * torch.from_numpy(own[:, :1, None, None])
        colour_of = torch.from_numpy(own[:, 1:, None, None])
        found = change(image, drawn("haze", own, max=0.8))
        assert_close(found, (1 - share) * image + share * colour_of, atol=1e-5, rtol=0)

    def test_contrast_after_it_is_about_the_hazy_mean(self):
        image, own, strength = mid_grey(), numbers(6, 4), numbers(6, 1, seed=1)
        hazy = change(image, drawn("haze", own, max=0.4))
        both = change(image, drawn("haze", own, max=0.4), drawn("contrast", strength, max=0.2))
        assert_close(both, change(hazy, drawn("contrast", strength, max=0.2)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["white_balance", "haze"])
def test_without_strength_colours_stay(name):
    image = images()
    own = numbers(6, OPERATIONS[name].numbers)
    assert_close(change(image, drawn(name, own, max=0.0)), image, atol=1e-6, rtol=0)


def test_images_without_colour_operations_keep_their_values():
    image = images()
    rows = np.array([2])
    found = colour.recolour(image, [Draw("brightness", rows, numbers(1, 1), {"max": 0.5})])
    others = [0, 1, 3, 4, 5]
    assert torch.equal(found[others], image[others])
    assert colour.recolour(image, []) is image


def test_is_clamped():
    image = images(40)
    draws = [drawn(name, numbers(40, 1), max=0.9) for name in ("brightness", "contrast")]
    found = change(image, *draws)
    assert found.min() == 0
    assert found.max() == 1
    assert found.shape == (40, 3, SIDE, SIDE)
