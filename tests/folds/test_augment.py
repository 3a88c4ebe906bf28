import math

import kornia.enhance as ke
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia.augmentation import RandomAffine, RandomHorizontalFlip, RandomVerticalFlip
from kornia.color import rgb_to_hsv
from torch.testing import assert_close

from folds.augment import (
    COLUMNS,
    augment,
    colour,
    geometry,
    hue_matrix,
    recolour,
    saturation_matrix,
    to_input,
    warp,
)
from folds.batches import uniform_table
from folds.config import AugmentConfig

SIDE = 24
OFF = AugmentConfig(**dict.fromkeys(AugmentConfig.model_fields, 0.0))
STRONG = AugmentConfig(
    flip_horizontal=0.5, flip_vertical=0.5, rotate=180, translate=0.3, scale=0.5, shear=30,
    brightness=0.5, contrast=0.5, saturation=0.5, hue=0.5,
)  # fmt: skip


def table(rows, epoch=0):
    return torch.from_numpy(uniform_table(5, epoch, rows, COLUMNS))


def pictures(count=6, side=SIDE, low=0, high=256):
    generator = torch.Generator().manual_seed(count)
    shape = (count, side, side, 3)
    return torch.randint(low, high, shape, generator=generator).to(torch.uint8)


def mid_grey(count=6):
    """Images that no moderate change of colour drives out of [0, 1]."""
    return to_input(pictures(count, low=110, high=146), SIDE)


def by_kornia(image, numbers, config):
    """Kornia's own modules, one after another, given the parameters of the table."""
    spread = 2 * numbers - 1
    count = len(image)
    size = torch.tensor([[SIDE, SIDE]]).expand(count, 2)

    def flip(module, chosen):
        return module(image, params={"batch_prob": chosen, "forward_input_shape": shape})

    shape = torch.tensor(image.shape)
    image = flip(RandomHorizontalFlip(p=0.5), numbers[:, 0] < config.flip_horizontal)
    image = flip(RandomVerticalFlip(p=0.5), numbers[:, 1] < config.flip_vertical)
    affine = RandomAffine(180.0, p=1.0, padding_mode="reflection", align_corners=True)
    params = {
        "batch_prob": torch.ones(count),
        "forward_input_shape": shape,
        "angle": config.rotate * spread[:, 2],
        "translations": config.translate * size * spread[:, 3:5],
        "scale": (1 + config.scale * spread[:, 5])[:, None].expand(count, 2),
        "shear_x": config.shear * spread[:, 6],
        "shear_y": config.shear * spread[:, 7],
        "center": (size - 1) / 2,
    }
    return affine(image, params=params)


class TestGeometry:
    @pytest.mark.parametrize("config", [AugmentConfig(), STRONG], ids=["default", "strong"])
    def test_equals_kornias_flips_and_affine(self, config):
        image, numbers = to_input(pictures(32), SIDE), table(32)
        ours = warp(image, geometry(numbers, config, SIDE))
        theirs = by_kornia(image, numbers, config)
        assert_close(ours, theirs, atol=1e-4, rtol=0)
        assert (ours - image).abs().mean() > 0.05

    def test_both_kinds_of_flips_occur_in_that_test(self):
        for column in (0, 1):
            assert 0 < (table(32)[:, column] < 0.5).sum() < 32

    @pytest.mark.parametrize(
        ("horizontal", "vertical", "axes"), [(1, 0, [3]), (0, 1, [2]), (1, 1, [2, 3])]
    )
    def test_flips_are_exact(self, horizontal, vertical, axes):
        config = OFF.model_copy(update={"flip_horizontal": horizontal, "flip_vertical": vertical})
        image = to_input(pictures(), SIDE)
        found = warp(image, geometry(table(6), config, SIDE))
        assert_close(found, image.flip(axes), atol=1e-5, rtol=0)

    def test_quarter_turn_is_a_quarter_turn(self):
        numbers = torch.full((1, COLUMNS), 0.5)
        numbers[:, 2] = 0.75  # half of the largest angle, to the positive side
        config = OFF.model_copy(update={"rotate": 180.0})
        image = to_input(pictures(1), SIDE)
        found = warp(image, geometry(numbers, config, SIDE))
        assert_close(found, image.rot90(-1, (2, 3)), atol=1e-4, rtol=0)

    def test_a_plain_image_stays_plain(self):
        image = torch.full((8, 3, SIDE, SIDE), 0.3)
        assert_close(warp(image, geometry(table(8), STRONG, SIDE)), image)


class TestColour:
    def by_kornia(self, image, brightness, contrast, saturation):
        image = ke.adjust_brightness_accumulative(image, brightness)
        image = ke.adjust_contrast_with_mean_subtraction(image, contrast)
        return ke.adjust_saturation_with_gray_subtraction(image, saturation)

    def test_equals_kornias_brightness_contrast_saturation(self):
        config = AugmentConfig(brightness=0.2, contrast=0.3, saturation=0.4, hue=0)
        image, numbers = mid_grey(16), table(16)
        spread = 2 * numbers - 1
        theirs = self.by_kornia(
            image, 1 + 0.2 * spread[:, 8], 1 + 0.3 * spread[:, 9], 1 + 0.4 * spread[:, 10]
        )
        assert 0 < theirs.min() < theirs.max() < 1
        assert_close(recolour(image, colour(numbers, config)), theirs, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
    def test_each_alone_equals_kornias(self, name):
        config = OFF.model_copy(update={name: 0.3})
        image, numbers = mid_grey(), table(6)
        column = {"brightness": 8, "contrast": 9, "saturation": 10}[name]
        factors = {other: torch.ones(6) for other in ("brightness", "contrast", "saturation")}
        factors[name] = 1 + 0.3 * (2 * numbers[:, column] - 1)
        found = recolour(image, colour(numbers, config))
        assert_close(found, self.by_kornia(image, **factors), atol=1e-5, rtol=0)
        assert (found - image).abs().max() > 0.005

    @settings(max_examples=30, deadline=None)
    @given(st.floats(-7, 7), st.floats(0, 2), st.floats(0.1, 0.9))
    def test_hue_and_saturation_keep_grey(self, angle, factor, level):
        grey = torch.full((1, 3, 1), level)
        change = hue_matrix(torch.tensor([angle])) @ saturation_matrix(torch.tensor([factor]))
        assert_close(change @ grey, grey, atol=1e-5, rtol=0)

    def test_a_third_of_a_turn_permutes_the_channels_and_equals_kornias_hue(self):
        third = torch.tensor([2 * math.pi / 3])
        permutation = torch.tensor([[[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]])
        assert_close(hue_matrix(third), permutation, atol=1e-6, rtol=0)
        image = to_input(pictures(), SIDE)
        for sign in (1, -1):
            ours = (hue_matrix(sign * third) @ image.flatten(2)).view_as(image)
            theirs = ke.adjust_hue(image, (sign * third).expand(6))
            assert_close(ours, theirs, atol=1e-4, rtol=0)

    def test_a_whole_turn_changes_nothing(self):
        turn = torch.tensor([0, 2 * math.pi])
        assert_close(hue_matrix(turn), torch.eye(3).expand(2, 3, 3), atol=1e-6, rtol=0)

    @pytest.mark.parametrize("turn", [-0.02, 0.01, 0.02])
    def test_small_turns_turn_the_hue_about_as_far_as_kornias(self, turn):
        image = to_input(pictures(), SIDE) * 0.5 + 0.25  # no clipping
        image = image[..., (image.amax(1) - image.amin(1)).amin((0, 1)) > 0.02]  # hue is defined
        angle = torch.tensor([2 * math.pi * turn])
        ours = (hue_matrix(angle) @ image.flatten(2)).view_as(image)
        theirs = ke.adjust_hue(image, angle.expand(6))
        before, turned, wanted = (rgb_to_hsv(one)[:, 0] for one in (image, ours, theirs))

        def apart(one, two):
            return torch.remainder(one - two + math.pi, 2 * math.pi) - math.pi

        assert_close(apart(wanted, before), angle.expand_as(before), atol=1e-3, rtol=0)
        assert apart(turned, wanted).abs().max() < 0.25 * angle.abs()
        assert (ours - theirs).abs().max() < 5 * abs(turn)

    def test_saturation_comes_before_hue(self):
        config = OFF.model_copy(update={"saturation": 0.5, "hue": 0.5})
        image, numbers = mid_grey(), table(6)
        spread = 2 * numbers - 1
        paler = ke.adjust_saturation_with_gray_subtraction(image, 1 + 0.5 * spread[:, 10])
        expected = hue_matrix(math.pi * spread[:, 11]) @ paler.flatten(2)
        assert_close(recolour(image, colour(numbers, config)).flatten(2), expected)

    def test_is_clamped(self):
        config = OFF.model_copy(update={"brightness": 0.9, "contrast": 0.9})
        found = recolour(to_input(pictures(40), SIDE), colour(table(40), config))
        assert found.min() == 0
        assert found.max() == 1


class TestAugment:
    @pytest.mark.parametrize(("side", "size"), [(SIDE, SIDE), (12, 30), (40, 16)])
    def test_shape_and_range(self, side, size):
        found = augment(pictures(5, side), table(5), STRONG, size)
        assert found.shape == (5, 3, size, size)
        assert found.dtype == torch.float32
        assert found.min() >= 0
        assert found.max() <= 1

    @pytest.mark.parametrize("size", [SIDE, 40, 16])
    def test_without_strength_is_the_plain_view(self, size):
        pixels = pictures()
        plain = to_input(pixels, size)
        assert_close(augment(pixels, table(6), OFF, size), plain, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("size", [SIDE, 40])
    def test_an_images_result_does_not_depend_on_the_batch(self, size):
        pixels, numbers = pictures(7), table(7)
        whole = augment(pixels, numbers, STRONG, size)
        for row in range(7):
            alone = augment(pixels[row : row + 1], numbers[row : row + 1], STRONG, size)
            assert_close(alone[0], whole[row], atol=1e-6, rtol=0)
        order = torch.tensor([3, 6, 0])
        some = augment(pixels[order], numbers[order], STRONG, size)
        assert_close(some, whole[order], atol=1e-6, rtol=0)

    def test_is_deterministic_and_leaves_its_input_alone(self):
        pixels, numbers = pictures(), table(6)
        before = pixels.clone(), numbers.clone()
        one, two = (augment(pixels, numbers, AugmentConfig(), SIDE) for _ in range(2))
        assert torch.equal(one, two)
        assert torch.equal(pixels, before[0])
        assert torch.equal(numbers, before[1])

    def test_every_epoch_gives_another_view(self):
        pixels = pictures()
        one, two = (augment(pixels, table(6, epoch), AugmentConfig(), SIDE) for epoch in (0, 1))
        assert ((one - two).abs().flatten(1).max(dim=1).values > 0.05).all()

    @pytest.mark.parametrize("name", AugmentConfig.model_fields)
    def test_every_strength_does_something(self, name):
        config = OFF.model_copy(update={name: getattr(STRONG, name)})
        pixels = pictures(8)
        assert (augment(pixels, table(8), config, SIDE) - to_input(pixels, SIDE)).abs().max() > 0.01


class TestToInput:
    def test_is_a_float_of_each_pixel(self):
        pixels = pictures()
        assert_close(to_input(pixels, SIDE), pixels.permute(0, 3, 1, 2) / 255)

    @pytest.mark.parametrize("size", [8, 100])
    def test_resizing_keeps_a_plain_colour(self, size):
        pixels = torch.tensor([51, 102, 255], dtype=torch.uint8).expand(2, SIDE, SIDE, 3)
        expected = torch.tensor([0.2, 0.4, 1.0]).view(1, 3, 1, 1).expand(2, 3, size, size)
        assert_close(to_input(pixels, size), expected)

    def test_reducing_averages_instead_of_skipping(self):
        checks = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
        checks[:, ::2, ::2] = checks[:, 1::2, 1::2] = 254
        inner = to_input(checks, 8)[..., 1:-1, 1:-1]
        assert_close(inner, torch.full_like(inner, 127 / 255), atol=0.02, rtol=0)
