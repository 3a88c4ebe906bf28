import kornia.enhance as ke
import kornia.filters as kf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torch.testing import assert_close

from folds.augment import masks, pixels
from folds.augment.noise import bits, normals, uniforms
from folds.config.policies import OPERATIONS
from tests.folds.augment.pictures import SIDE, images, numbers, smooth

CPU = torch.device("cpu")


def strongest(name):
    return {key: limit.high for key, limit in OPERATIONS[name].limits.items()}


def pillow(image):
    """An image as Pillow has it."""
    return Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())


def of_pillow(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255


class TestEveryOperation:
    @pytest.mark.parametrize("name", pixels.OPERATIONS)
    def test_shape_range_and_determinism(self, name):
        image, own = images(5, low=40, high=200), numbers(5, OPERATIONS[name].numbers)
        operation, strengths = pixels.OPERATIONS[name], strongest(name)
        found = operation(image.clone(), own, **strengths)
        assert found.shape == image.shape
        assert found.dtype == torch.float32
        assert 0 <= found.min() <= found.max() <= 1
        assert (found - image).abs().max() > 0.01
        assert torch.equal(found, operation(image.clone(), own, **strengths))

    @pytest.mark.parametrize("name", pixels.OPERATIONS)
    def test_each_image_is_on_its_own(self, name):
        image, own = images(5), numbers(5, OPERATIONS[name].numbers)
        operation, strengths = pixels.OPERATIONS[name], strongest(name)
        whole = operation(image.clone(), own, **strengths)
        for row in range(5):
            part = slice(row, row + 1)
            alone = operation(image[part].clone(), own[part], **strengths)
            assert_close(alone, whole[part], atol=1e-5, rtol=0)

    @pytest.mark.parametrize("name", [n for n in pixels.OPERATIONS if OPERATIONS[n].limits])
    def test_without_strength_it_changes_next_to_nothing(self, name):
        image, own = smooth(5), numbers(5, OPERATIONS[name].numbers)
        image = image.mean(1, keepdim=True).expand_as(image)  # JPEG halves the size of colours
        found = pixels.OPERATIONS[name](image.clone(), own, max=0.0)
        assert_close(found, image, atol=0.02 if name == "jpeg" else 2e-3, rtol=0)

    @pytest.mark.parametrize("name", pixels.OPERATIONS)
    @settings(max_examples=5)
    @given(data=st.data())
    def test_stays_in_range_whatever_was_drawn(self, name, data):
        number = st.floats(0, 1, exclude_max=True, width=32)
        drawn = data.draw(st.lists(number, min_size=6, max_size=6))
        own = np.array([drawn] * 2, np.float32)[:, : OPERATIONS[name].numbers]
        image = torch.stack([images(1)[0], torch.full((3, SIDE, SIDE), drawn[0])])
        found = pixels.OPERATIONS[name](image, own, **strongest(name))
        assert 0 <= found.min() <= found.max() <= 1

    @pytest.mark.parametrize("name", pixels.OPERATIONS)
    @pytest.mark.parametrize("side", [8, 9])
    def test_works_on_small_images_of_odd_and_even_sides(self, name, side):
        image, own = images(2, side), numbers(2, OPERATIONS[name].numbers)
        assert pixels.OPERATIONS[name](image, own, **strongest(name)).shape == image.shape


class TestEqualsKornia:
    def test_posterize(self):
        image, own = images(4), np.array([[0.0], [0.25], [0.5], [0.999]], np.float32)
        theirs = ke.posterize(image, torch.tensor([8, 7, 6, 4]))
        assert torch.equal(pixels.posterize(image, own, max=4), theirs)

    def test_solarize(self):
        image, own = images(4), numbers(4, 1)
        theirs = ke.solarize(image, torch.from_numpy(1 - 0.5 * own[:, 0] + 1 / 512))
        assert torch.equal(pixels.solarize(image, own, max=0.5), theirs)

    def test_sharpness(self):
        image, own = images(4), numbers(4, 1)
        theirs = ke.sharpness(image, torch.from_numpy(1 + 0.5 * (2 * own[:, 0] - 1)))
        assert torch.equal(pixels.sharpness(image, own, max=0.5), theirs)

    def test_blur(self):
        image, own = images(3), np.array([[0.2], [0.5], [0.9]], np.float32)
        found = pixels.blur(image, own, max=0.05)
        for row, sigma in enumerate((0.05 * SIDE * own[:, 0]).tolist()):
            theirs = kf.gaussian_blur2d(image[row : row + 1], 9, (sigma, sigma))
            assert_close(found[row : row + 1], theirs, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("angle", [0.0, 90.0])
    def test_motion_blur_along_an_axis(self, angle):
        image = images(2)
        kernel = pixels.streaks(np.array([5.0, 5.0]), np.radians([angle, angle]), 5)
        theirs = kf.get_motion_kernel2d(5, torch.tensor([angle, angle]), torch.zeros(2))
        assert_close(kernel, theirs, atol=1e-5, rtol=0)
        own = np.array([[0.999999, angle / 180]] * 2, np.float32)
        found = pixels.motion_blur(image, own, max=5 / SIDE)
        blurred = kf.motion_blur(image, 5, torch.full((2,), angle), torch.zeros(2))
        assert_close(found, blurred, atol=1e-4, rtol=0)

    def test_jpeg(self):
        image, own = smooth(3), np.array([[0.1], [0.5], [0.9]], np.float32)
        theirs = ke.jpeg_codec_differentiable(image, torch.from_numpy(100 - 80 * own[:, 0]))
        assert torch.equal(pixels.jpeg(image, own, max=80), theirs.clamp(0, 1))


class TestEqualsPillow:
    def test_equalize(self):
        image = smooth(4) * 0.5 + 0.2
        image = (image * 255).round() / 255
        for one, found in zip(image, pixels.equalize(image, numbers(4, 0)), strict=True):
            wanted = of_pillow(ImageOps.equalize(pillow(one)))
            assert_close(found, wanted, atol=1.5 / 255, rtol=0)

    def test_autocontrast(self):
        image = smooth(4) * 0.5 + 0.2
        image = (image * 255).round() / 255
        for one, found in zip(image, pixels.autocontrast(image, numbers(4, 0)), strict=True):
            wanted = of_pillow(ImageOps.autocontrast(pillow(one)))
            assert_close(found, wanted, atol=1.5 / 255, rtol=0)

    def test_autocontrast_leaves_a_plain_image_alone(self):
        image = torch.full((1, 3, SIDE, SIDE), 0.4)
        assert torch.equal(pixels.autocontrast(image, numbers(1, 0)), image)


class TestNoise:
    def test_is_standard_normal(self):
        drawn = normals(numbers(4, 1)[:, 0], 50_001, CPU)
        assert drawn.shape == (4, 50_001)
        assert drawn.mean().abs() < 0.02
        assert abs(drawn.std() - 1) < 0.02
        assert abs((drawn**4).mean() - 3) < 0.1
        assert torch.corrcoef(drawn).fill_diagonal_(0).abs().max() < 0.03

    def test_uniforms_fill_the_range_evenly(self):
        drawn = uniforms(numbers(2, 1)[:, 0], 100_000, CPU)
        assert 0 <= drawn.min() < 1e-3 < 1 - 1e-3 < drawn.max() < 1
        counts = torch.histc(drawn, 10, 0, 1)
        assert (counts / 20_000 - 1).abs().max() < 0.03

    def test_numbers_that_differ_little_give_other_bits(self):
        seeds = np.array([0.5, 0.5 + 2**-24], np.float32)
        one, two = bits(seeds, 1000, CPU)
        assert (one == two).float().mean() < 0.01

    def test_has_the_strength_that_was_drawn(self):
        image = torch.full((2, 3, 64, 64), 0.5)
        own = np.array([[0.25, 0.3], [0.5, 0.3]], np.float32)
        found = pixels.noise(image, own, max=0.2) - 0.5
        assert found[0].std() == pytest.approx(0.05, rel=0.05)
        assert_close(2 * found[0], found[1], atol=1e-5, rtol=0)


class TestRandomConv:
    def test_is_the_convolution_of_all_channels_with_the_images_mean_and_spread(self):
        image, own = (
            smooth(3) * 0.2 + 0.4,
            np.float32([[1, 0.1, 0.3], [1, 0.6, 0.3], [0.5, 0.9, 0.8]]),
        )
        found = pixels.random_conv(image, own, max=1.0)
        for row, width in enumerate((1, 5, 7)):
            one = image[row : row + 1]
            kernel = pixels._filters(np.array([width]), own[row : row + 1, 2])[0]
            padded = torch.nn.functional.pad(one, (width // 2,) * 4, mode="reflect")
            filtered = torch.nn.functional.conv2d(padded, kernel)
            wanted = (filtered - filtered.mean()) / filtered.std() * one.std() + one.mean()
            wanted = torch.lerp(one, wanted.clamp(0, 1), float(own[row, 0]))
            assert_close(found[row : row + 1], wanted, atol=1e-5, rtol=0)

    def test_filters_have_all_four_widths_and_other_weights_an_image(self):
        own = numbers(400, 3)
        widths = 1 + 2 * (4 * own[:, 1]).astype(int)
        kernels = pixels._filters(widths, own[:, 2])
        found = (kernels != 0).any(1).any(1).any(1).sum(1)
        assert found.tolist() == widths.tolist()
        assert np.bincount(widths)[1::2].min() > 60
        assert len(kernels[:, :, :, 3, 3].flatten(1).unique(dim=0)) == 400

    def test_a_plain_image_stays_plain(self):
        image = torch.full((4, 3, SIDE, SIDE), 0.3)
        found = pixels.random_conv(image, numbers(4, 3), max=1.0)
        assert (found.amax((2, 3)) - found.amin((2, 3))).max() < 0.02


class TestMasks:
    @pytest.mark.parametrize("name", ["erase", "grid_mask"])
    def test_cover_the_area_that_was_drawn_with_the_mean(self, name):
        side = 120
        image = images(30, side)
        own = numbers(30, 4)
        found = pixels.OPERATIONS[name](image, own, max=0.4)
        mean = image.mean(dim=(2, 3), keepdim=True)
        covered = (found != image).any(1)
        assert_close(found, torch.where(covered[:, None], mean, image))
        share = covered.float().mean(dim=(1, 2)).numpy()
        np.testing.assert_allclose(share, 0.4 * own[:, 0], atol=0.06)

    def test_boxes_lie_inside_and_reach_every_edge(self):
        own = np.random.default_rng(0).random((2000, 2))
        box = masks.boxes(np.full((2000, 2), 0.25), own, SIDE)
        assert (box[:, :2].min(), box[:, 2:].max()) == (0, SIDE)
        assert ((box[:, 2:] - box[:, :2]) == SIDE // 4).all()

    def test_an_erased_rectangle_is_one_rectangle(self):
        image = images(8, 64)
        covered = (pixels.erase(image, numbers(8, 4), max=0.5) != image).any(1)
        for one in covered:
            rows, columns = one.any(1), one.any(0)
            assert torch.equal(one, rows[:, None] & columns)
