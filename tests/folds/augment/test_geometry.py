import math

import kornia.geometry.transform as kt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia.augmentation import RandomAffine, RandomHorizontalFlip, RandomVerticalFlip
from torch.testing import assert_close

from folds.augment import geometry
from folds.augment.draws import Draw
from tests.folds.augment.pictures import SIDE, images, numbers, smooth

LAST = SIDE - 1


def drawn(op, count, own=None, **strengths):
    own = np.zeros((count, 0), np.float32) if own is None else np.asarray(own, np.float32)
    return Draw(op, np.arange(count), own, strengths)


def in_pixels(matrix):
    """The same matrix between pixel coordinates, in which Kornia's functions count."""
    to = torch.tensor([[LAST / 2, 0, LAST / 2], [0, LAST / 2, LAST / 2], [0, 0, 1]]).double()
    return to @ torch.from_numpy(matrix) @ to.inverse()


def by_kornia(image, matrix):
    return kt.warp_perspective(
        image, in_pixels(matrix).float(), image.shape[-2:], padding_mode="reflection"
    )


class TestMatrices:
    def test_affine_parts_equal_kornias_modules(self):
        """Rotation, zoom and shift as RandomAffine composes them, after both flips."""
        image, own = images(16), numbers(16, 4)
        spread = 2 * own - 1
        size, flips = torch.tensor([[SIDE, SIDE]]).expand(16, 2), torch.arange(16) % 2 > 0
        shape = torch.tensor(image.shape)
        theirs = image
        for module in (RandomHorizontalFlip(p=0.5), RandomVerticalFlip(p=0.5)):
            given_flips = {"batch_prob": flips, "forward_input_shape": shape}
            theirs = module(theirs, params=given_flips)
        affine = RandomAffine(180.0, p=1.0, padding_mode="reflection", align_corners=True)
        params = {
            "batch_prob": torch.ones(16),
            "forward_input_shape": shape,
            "angle": torch.from_numpy(-60 * spread[:, 0]),
            "translations": torch.from_numpy(0.2 * LAST * spread[:, 2:]),
            "scale": torch.from_numpy(1 + 0.3 * spread[:, 1:2]).expand(16, 2),
            "shear_x": torch.zeros(16),
            "shear_y": torch.zeros(16),
            "center": (size - 1) / 2,
        }
        theirs = affine(theirs, params=params)
        rows = np.flatnonzero(flips.numpy())
        none = np.zeros((len(rows), 0), np.float32)
        draws = [Draw(f"flip_{way}", rows, none, {}) for way in ("horizontal", "vertical")]
        draws += [
            drawn("rotate", 16, own[:, :1], max=60),
            drawn("zoom", 16, own[:, 1:2], max=0.3),
            drawn("translate_x", 16, own[:, 2:3], max=0.2),
            drawn("translate_y", 16, own[:, 3:], max=0.2),
        ]
        ours = geometry.warp(image, draws)
        assert_close(ours, theirs, atol=2e-4, rtol=0)
        assert (ours - image).abs().mean() > 0.05

    def test_scales_logarithm_is_spread_evenly_between_its_ends(self):
        own = np.array([[0.0], [0.25], [0.5], [1.0]], np.float32)
        found = geometry.scale(own, min=0.5, max=2.0)
        factors = 2.0 ** np.array([-1, -0.5, 0, 1])
        np.testing.assert_allclose(found[:, 0, 0], factors, rtol=1e-6)
        np.testing.assert_allclose(found[:, 1, 1], factors, rtol=1e-6)

    @pytest.mark.parametrize(("name", "cell"), [("shear_x", (0, 1)), ("shear_y", (1, 0))])
    def test_shear_equals_kornias(self, name, cell):
        own = np.array([[0.9], [0.2]], np.float32)
        found = in_pixels(geometry.OPERATIONS[name](own, max=20))
        wanted = torch.eye(3).double().expand(2, 3, 3).clone()
        tangent = torch.tan(torch.deg2rad(torch.tensor([16.0, -12.0]))).double()
        wanted[:, cell[0], cell[1]] = tangent
        middle = torch.tensor([LAST / 2, LAST / 2, 1]).double()
        assert_close(found[:, :2, :2], wanted[:, :2, :2], atol=1e-5, rtol=0)
        assert_close(found @ middle, middle.expand(2, 3), atol=1e-5, rtol=0)

    def test_perspective_equals_kornias_warp_and_keeps_corners_inside(self):
        image, own = images(4), numbers(4, 8)
        ours = geometry.warp(image, [drawn("perspective", 4, own, max=0.4)])
        matrix = geometry.perspective(own, 0.4)
        assert_close(ours, by_kornia(image, matrix), atol=1e-3, rtol=0)
        corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]]).T
        moved = matrix @ corners
        moved = np.moveaxis(moved[:, :2] / moved[:, 2:], 1, 2)
        expected = corners[:2].T * (1 - 0.4 * own.reshape(4, 4, 2))
        np.testing.assert_allclose(moved, expected, atol=1e-5)

    @pytest.mark.parametrize("quarters", range(4))
    def test_quarter_turns_are_exact(self, quarters):
        image = images(1)
        own = np.array([[quarters / 4 + 0.1]], np.float32)
        found = geometry.warp(image, [drawn("quarter_turn", 1, own)])
        assert_close(found, image.rot90(quarters, (2, 3)), atol=1e-5, rtol=0)

    @pytest.mark.parametrize(("name", "axis"), [("flip_horizontal", 3), ("flip_vertical", 2)])
    def test_flips_are_exact(self, name, axis):
        image = images()
        found = geometry.warp(image, [drawn(name, 6)])
        assert_close(found, image.flip(axis), atol=1e-5, rtol=0)

    def test_a_quarter_by_rotation_is_a_quarter_turn(self):
        image = images(1)
        found = geometry.warp(image, [drawn("rotate", 1, [[0.75]], max=180)])
        assert_close(found, image.rot90(1, (2, 3)), atol=1e-4, rtol=0)
        turned = kt.rotate(image, torch.tensor([90.0]), padding_mode="reflection")
        assert_close(found, turned, atol=1e-4, rtol=0)

    def test_shift_moves_content_right_and_down(self):
        image = torch.zeros(1, 3, 21, 21)
        image[..., 10, 10] = 1
        for name, place in (("translate_x", (10, 12)), ("translate_y", (12, 10))):
            found = geometry.warp(image, [drawn(name, 1, [[1.0]], max=0.1)])
            assert found[0, 0, *place] == pytest.approx(1, abs=1e-4)

    @settings(max_examples=50)
    @given(st.lists(st.floats(0, 0.875, width=32), min_size=4, max_size=4), st.floats(0, 0.9))
    def test_crop_takes_a_part_of_the_right_area_from_inside(self, own, most):
        own = np.array([own], np.float32)
        back = np.linalg.inv(geometry.crop(own, most))[0]
        assert abs(back[0, 2]) + back[0, 0] <= 1 + 1e-6
        assert abs(back[1, 2]) + back[1, 1] <= 1 + 1e-6
        area, wanted = back[0, 0] * back[1, 1], 1 - most * own[0, 0]
        assert area == pytest.approx(wanted, abs=1e-5)
        assert 3 / 4 - 1e-5 <= back[0, 0] / back[1, 1] <= 4 / 3 + 1e-5

    @pytest.mark.parametrize("name", [n for n in geometry.OPERATIONS if "flip" not in n])
    def test_without_strength_nothing_moves(self, name):
        if name == "quarter_turn":
            found = geometry.quarter_turn(np.full((3, 1), 0.1, np.float32))
        elif name == "scale":
            found = geometry.scale(numbers(3, 1), min=1, max=1)
        else:
            found = geometry.OPERATIONS[name](numbers(3, 8), max=0.0)
        np.testing.assert_allclose(found, np.tile(np.eye(3), (3, 1, 1)), atol=1e-6)


class TestWarp:
    def test_several_matrices_are_one_warp_in_the_order_of_the_list(self):
        image, own = smooth(3), numbers(3, 2)
        turn, shift = (
            drawn("rotate", 3, own[:, :1], max=90),
            drawn("translate_x", 3, own[:, 1:], max=0.3),
        )
        one, other = geometry.compose([turn, shift], 3), geometry.compose([shift, turn], 3)
        matrix = geometry.translate_x(own[:, 1:], 0.3) @ geometry.rotate(own[:, :1], 90)
        np.testing.assert_allclose(one, matrix)
        assert np.abs(one - other).max() > 0.01
        assert_close(geometry.warp(image, [turn, shift]), by_kornia(image, one), atol=1e-3, rtol=0)

    def test_images_without_geometry_are_returned_as_they_are(self):
        image = images()
        rows = np.array([1, 4])
        found = geometry.warp(image, [Draw("rotate", rows, numbers(2, 1), {"max": 45.0})])
        others = [0, 2, 3, 5]
        assert torch.equal(found[others], image[others])
        assert ((found - image).abs().amax((1, 2, 3))[rows] > 0.05).all()
        assert geometry.warp(image, []) is image

    def test_a_plain_image_stays_plain(self):
        image = torch.full((8, 3, SIDE, SIDE), 0.3)
        draws = [
            drawn("rotate", 8, numbers(8, 1), max=180),
            drawn("perspective", 8, numbers(8, 8), max=0.4),
            drawn("elastic", 8, numbers(8, 2), max=0.1),
        ]
        assert_close(geometry.warp(image, draws), image)


class TestElastic:
    def test_reaches_as_far_as_said_and_is_smooth(self):
        own = numbers(40, 2)
        own[:, 0] = 0.999
        field = geometry.elastic(own, 48, torch.device("cpu"), max=0.1) / 2  # shares of a side
        assert 0.05 < field.abs().max() < 0.15
        assert field.mean().abs() < 0.01
        steps = max(field.diff(dim=axis).abs().max() for axis in (2, 3))
        assert steps < 1 / 47  # no folding: neighbours stay in their order

    def test_equals_kornias_sampling_of_the_same_displacement(self):
        image, own = smooth(3), numbers(3, 2)
        ours = geometry.warp(image, [drawn("elastic", 3, own, max=0.1)])
        field = geometry.elastic(own, SIDE, torch.device("cpu"), max=0.1)
        delta = torch.zeros(1, 1, 3, 3)
        delta[..., 1, 1] = 1  # Kornia blurs what it is given; a narrow Gaussian changes nothing
        theirs = kt.elastic_transform2d(
            image, field, kernel_size=(3, 3), sigma=(0.05, 0.05),
            align_corners=True, padding_mode="reflection",
        )  # fmt: skip
        assert_close(ours, theirs, atol=1e-4, rtol=0)
        assert (ours - image).abs().mean() > 0.01


def test_sides_of_the_screen():
    """A positive angle turns counter-clockwise: what was at the right is then at the top."""
    image = torch.zeros(1, 3, 21, 21)
    image[..., 10, 20] = 1
    own = np.array([[0.5 + 0.5 * 90 / 180]], np.float32)
    found = geometry.warp(image, [drawn("rotate", 1, own, max=180)])
    assert found[0, 0, 0, 10] == pytest.approx(1, abs=1e-3)
    assert math.isclose(float(found.sum()), 3, abs_tol=1e-2)
