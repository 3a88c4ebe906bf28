import itertools

import kornia.enhance as ke
import kornia.filters as kf
import kornia.geometry as kg
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from folds.augment import to_input
from folds.config.corruptions import CORRUPTIONS, SEVERITIES, suite
from folds.corruptions import corrupt, keys_of, operations
from folds.corruptions.corrupt import TABLE
from folds.corruptions.keys import numbers_of
from folds.images import demo

SIDE = 48
IDS = [f"cell{number}" for number in range(12)]


@pytest.fixture(scope="module")
def cells():
    return to_input(torch.from_numpy(demo.cells(2 * len(IDS)).pixels[: len(IDS)]), SIDE)


@pytest.fixture(scope="module")
def keys():
    return keys_of(IDS)


def level(name, severity=3):
    return TABLE[name].levels[severity - 1]


class TestEveryCorruption:
    @pytest.mark.parametrize("name", CORRUPTIONS)
    def test_shape_range_and_no_gradient(self, name, cells, keys):
        before = cells.clone().requires_grad_()
        for severity in (1, 5):
            found = corrupt(before, keys, name, severity)
            assert found.shape == cells.shape
            assert found.dtype == torch.float32
            assert not found.requires_grad
            assert 0 <= found.min() <= found.max() <= 1
        assert torch.equal(before, cells)

    @pytest.mark.parametrize("name", CORRUPTIONS)
    def test_an_image_is_corrupted_alike_whatever_the_batch_and_generator(self, name, cells, keys):
        whole = corrupt(cells, keys, name, 3)
        torch.manual_seed(1)
        order = torch.randperm(len(cells))
        assert_close(corrupt(cells[order], keys[order], name, 3), whole[order], atol=1e-5, rtol=0)
        assert_close(corrupt(cells[4:5], keys[4:5], name, 3), whole[4:5], atol=1e-5, rtol=0)

    @pytest.mark.parametrize("name", CORRUPTIONS)
    def test_is_the_same_under_autocast(self, name, cells, keys):
        with torch.autocast("cpu", torch.bfloat16):
            found = corrupt(cells, keys, name, 3)
        assert torch.equal(found, corrupt(cells, keys, name, 3))

    @pytest.mark.parametrize("name", CORRUPTIONS)
    def test_severity_moves_pixels_further(self, name, cells, keys):
        moved = [
            float((corrupt(cells, keys, name, severity) - cells).abs().mean())
            for severity in SEVERITIES
        ]
        assert moved[0] > 5e-4
        assert all(low < high for low, high in itertools.pairwise(moved)), moved

    @pytest.mark.parametrize("name", CORRUPTIONS)
    @pytest.mark.parametrize("side", [8, 9])
    def test_small_images_of_odd_and_even_sides(self, name, side, keys):
        image = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
        assert corrupt(image, keys[:2], name, 5).shape == image.shape

    @pytest.mark.parametrize(
        "name",
        [
            n
            for n in CORRUPTIONS
            if n not in ("defocus", "zoom_blur", "contrast", "pixelate", "jpeg")
        ],
    )
    def test_differs_from_image_to_image(self, name, cells, keys):
        same = cells[:1].expand(len(keys), -1, -1, -1)
        found = corrupt(same, keys, name, 3)
        assert any((other - found[0]).abs().max() > 0.01 for other in found[1:])

    def test_unknown_ones(self, cells, keys):
        with pytest.raises(ValueError, match="'shot'; nearest: shot_noise"):
            corrupt(cells, keys, "shot", 1)
        with pytest.raises(ValueError, match="severity 6: must be 1 to 5"):
            corrupt(cells, keys, "jpeg", 6)


class TestEqualsKornia:
    @pytest.mark.parametrize("severity", SEVERITIES)
    def test_jpeg(self, severity, cells, keys):
        quality = torch.full((len(keys),), 100 - level("jpeg", severity))
        theirs = ke.jpeg_codec_differentiable(cells, quality).clamp(0, 1)
        assert_close(corrupt(cells, keys, "jpeg", severity), theirs)

    def test_contrast(self, cells, keys):
        theirs = ke.adjust_contrast_with_mean_subtraction(cells, 1 - level("contrast"))
        assert_close(corrupt(cells, keys, "contrast", 3), theirs, atol=1e-5, rtol=0)

    def test_saturation_goes_either_way(self, cells, keys):
        found = corrupt(cells, keys, "saturation", 3)
        ways = set()
        for image, mine in zip(cells, found, strict=True):
            less, more = (
                ke.adjust_saturation_with_gray_subtraction(image, 1 + way * level("saturation"))
                for way in (-1, 1)
            )
            nearer = (mine - more).abs().max() < (mine - less).abs().max()
            assert_close(mine, more if nearer else less, atol=1e-5, rtol=0)
            ways.add(bool(nearer))
        assert ways == {True, False}

    def test_brightness_goes_either_way(self, cells, keys):
        found = corrupt(cells, keys, "brightness", 3)
        factor = torch.where((found.mean((1, 2, 3)) > cells.mean((1, 2, 3))), 1.0, -1.0)
        assert set(factor.tolist()) == {1, -1}
        theirs = ke.adjust_brightness_accumulative(cells, 1 + factor * level("brightness"))
        assert_close(found, theirs, atol=1e-5, rtol=0)

    def test_zoom_blur_averages_enlarged_images(self, cells, keys):
        factors = torch.linspace(1, 1 + level("zoom_blur"), operations._ZOOMS)
        each = [
            kg.scale(cells, factor.expand(len(cells), 2), align_corners=True) for factor in factors
        ]
        theirs = torch.stack(each).mean(0)
        assert_close(corrupt(cells, keys, "zoom_blur", 3), theirs, atol=1e-4, rtol=0)

    def test_defocus_is_one_kernel(self, cells, keys):
        kernel = operations.disk(level("defocus") * SIDE, SIDE)
        theirs = kf.filter2d(cells, kernel[None])
        assert_close(corrupt(cells, keys, "defocus", 3), theirs, atol=1e-5, rtol=0)


class TestOwnOperations:
    def test_disk_has_the_radius_and_sums_to_one(self):
        kernel = operations.disk(3.0, 20)
        assert kernel.shape == (7, 7)
        assert_close(kernel.sum(), torch.tensor(1.0))
        assert kernel[3, 6] == kernel[6, 3] > 0
        assert kernel[0, 0] == 0
        assert (kernel > 0).sum() == pytest.approx(np.pi * 3.5**2, abs=6)

    @pytest.mark.parametrize("value", [0.1, 0.4, 0.9])
    def test_shot_noise_has_mean_and_variance_of_a_poisson_count(self, value, keys):
        image = torch.full((4, 3, 96, 96), value)
        strength = 0.2
        noisy = operations.shot_noise(image, numbers_of(keys[:4], "shot", 1), strength)
        assert float(noisy.mean()) == pytest.approx(value, abs=0.003)
        eighth = strength**4 / 8
        assert float(noisy.var()) == pytest.approx(value * strength**2 + eighth, rel=0.03)

    def test_impulse_noise_is_as_often_black_as_white(self, keys):
        image = torch.full((4, 3, 96, 96), 0.5)
        noisy = operations.impulse_noise(image, numbers_of(keys[:4], "impulse", 1), 0.2)
        black, white = (float((noisy == value).float().mean()) for value in (0, 1))
        assert black == pytest.approx(0.1, abs=0.005)
        assert white == pytest.approx(0.1, abs=0.005)
        assert float((noisy == 0.5).float().mean()) == pytest.approx(0.8, abs=0.01)

    def test_speckle_noise_leaves_black_alone(self, keys):
        image = torch.zeros(1, 3, 8, 8)
        image[:, :, :, 4:] = 0.5
        found = corrupt(image, keys[:1], "speckle_noise", 5)
        assert torch.equal(found[..., :4], image[..., :4])
        assert (found[..., 4:] != 0.5).all()

    def test_pixelate_replaces_squares_by_their_mean(self, cells):
        found = operations.pixelate(cells, np.zeros((len(cells), 1), np.float32), 0.75)
        blocks = found.unfold(2, 4, 4).unfold(3, 4, 4)
        assert torch.equal(blocks.amin((4, 5)), blocks.amax((4, 5)))
        assert_close(blocks[..., 0, 0], torch.nn.functional.avg_pool2d(cells, 4))

    def test_glass_keeps_flat_images_flat(self, keys):
        image = torch.full((1, 3, 24, 24), 0.3)
        assert_close(corrupt(image, keys[:1], "glass_blur", 5), image)


def test_suites():
    assert len(CORRUPTIONS) == 19
    assert suite("fast") == [(name, 3) for name in CORRUPTIONS]
    assert set(suite("full")) == {(name, s) for name in CORRUPTIONS for s in SEVERITIES}
    assert len(suite("full")) == 95


def test_levels_grow():
    for name, corruption in TABLE.items():
        assert len(corruption.levels) == 5, name
        assert list(corruption.levels) == sorted(set(corruption.levels)), name
        assert (corruption.own is None) != (corruption.op is None), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_gpu_corrupts_alike(name, cells, keys):
    there = corrupt(cells.cuda(), keys, name, 3).cpu()
    assert_close(there, corrupt(cells, keys, name, 3), atol=1e-3, rtol=0)
