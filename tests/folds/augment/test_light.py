import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from folds.augment import light
from tests.folds.augment.pictures import SIDE, images, numbers, smooth

NUMBER = st.floats(0, 1, exclude_max=True, width=32)


def densities(image):
    return -torch.log(image.flatten(2) + 1 / 255)


class TestHed:
    def test_equals_deconvolution_into_stains_and_back(self):
        image, own = smooth(5) * 0.4 + 0.3, numbers(5, 6)
        found = light.hed(image, own, max=0.1)
        stains = torch.from_numpy(light.HED).float()
        spread = torch.from_numpy(0.1 * (2 * own - 1))
        amounts = densities(image).mT @ stains.inverse()
        amounts = amounts * (1 + spread[:, None, :3]) + spread[:, None, 3:]
        wanted = torch.exp(-(amounts @ stains)).mT - 1 / 255
        assert_close(found.flatten(2), wanted.clamp(0, 1), atol=1e-4, rtol=0)
        assert (found - image).abs().max() > 0.02

    @settings(max_examples=20)
    @given(number=NUMBER)
    def test_more_of_a_stain_alone_is_a_darker_image_of_its_colour(self, number):
        image = torch.full((1, 3, 2, 2), 0.6)
        for stain in range(3):
            own = np.full((1, 6), 0.5, np.float32)
            own[0, 3 + stain] = 0.5 + number / 2
            change = densities(light.hed(image, own, max=0.3)) - densities(image)
            wanted = 0.3 * number * torch.from_numpy(light.HED[stain]).float()
            assert_close(change, wanted.view(1, 3, 1).expand_as(change), atol=1e-4, rtol=0)

    def test_without_strength_changes_nothing_black_and_white_included(self):
        image = images()
        image[0], image[1] = 0, 1
        assert torch.equal(light.hed(image, numbers(6, 6), max=0.0), image)


class TestGamma:
    @settings(max_examples=20)
    @given(number=NUMBER)
    def test_is_a_power_that_keeps_black_and_white(self, number):
        image = torch.tensor([0.0, 0.25, 1.0]).view(1, 1, 1, 3).expand(1, 3, 3, 3)
        found = light.gamma(image, np.full((1, 3), number, np.float32), max=0.7)
        power = np.exp(0.7 * (2 * np.float32(number) - 1))
        wanted = torch.tensor([0.0, 0.25**power, 1.0]).expand_as(found)
        assert_close(found, wanted, atol=1e-5, rtol=0)

    def test_channels_have_powers_of_their_own(self):
        found = light.gamma(torch.full((1, 3, 2, 2), 0.5), np.float32([[0.1, 0.5, 0.9]]), max=0.5)
        assert found[0, 0, 0, 0] > found[0, 1, 0, 0] == 0.5 > found[0, 2, 0, 0]


class TestVignette:
    @settings(max_examples=20)
    @given(across=NUMBER, down=NUMBER, number=NUMBER)
    def test_loses_most_in_the_farthest_corner_and_little_at_its_place(self, across, down, number):
        image = torch.ones(1, 3, SIDE, SIDE)
        found = light.vignette(image, np.float32([[number, across, down]]), max=0.6)[0, 0]
        corners = found[0, 0], found[0, -1], found[-1, 0], found[-1, -1]
        assert_close(min(corners), torch.tensor(1 - 0.6 * number), atol=1e-5, rtol=0)
        assert_close(found.min(), min(corners), atol=1e-6, rtol=0)
        place = found[min(int(down * SIDE), SIDE - 1), min(int(across * SIDE), SIDE - 1)]
        assert place > 1 - 0.01 * number - 1e-6

    def test_is_grey(self):
        image = images()
        found = light.vignette(image, numbers(6, 3), max=0.9)
        factor = found / image.clamp_min(1e-3)
        bright = (image > 0.1).all(1, keepdim=True)
        assert ((factor - factor[:, :1]).abs() * bright).max() < 1e-5
