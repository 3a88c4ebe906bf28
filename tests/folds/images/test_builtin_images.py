import numpy as np
import pytest
from PIL import Image

from folds.config import DataConfig
from folds.images import load, load_unlabelled
from folds.images.resize import cover, shrink


class TestDigits:
    def test_are_scikit_learns(self):
        images = load(DataConfig(data="digits"), seed=0, largest=64)
        assert images.pixels.shape == (1797, 32, 32, 3)
        assert images.class_names == tuple("0123456789")
        assert images.pixels.max() == 255
        assert (images.pixels[..., 0] == images.pixels[..., 2]).all()

    def test_can_be_predicted(self):
        found = load_unlabelled("digits", size=64)
        pixels, ids = found.pixels, found.ids
        assert len(pixels) == len(ids) == 1797


class TestCover:
    def test_keeps_the_centre_square(self):
        values = np.zeros((10, 30, 3), np.uint8)
        values[:, 10:20] = 255
        assert (cover(Image.fromarray(values), 10) == 255).all()
        assert (cover(Image.fromarray(values.transpose(1, 0, 2)), 10) == 255).all()

    @pytest.mark.parametrize("size", [5, 16, 40])
    def test_has_the_size_and_keeps_a_plain_colour(self, size):
        image = Image.new("RGB", (17, 16), (3, 99, 250))
        assert cover(image, size).shape == (size, size, 3)
        assert (cover(image, size) == [3, 99, 250]).all()

    def test_leaves_a_fitting_square_alone(self):
        values = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        assert (cover(Image.fromarray(values), 9) == values).all()


class TestShrink:
    PIXELS = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 3), dtype=np.uint8)

    @pytest.mark.parametrize("size", [12, 20])
    def test_leaves_squares_that_are_not_larger(self, size):
        assert (shrink(self.PIXELS, size) == self.PIXELS).all()

    def test_reduces_larger_ones_each_alone(self):
        small = shrink(self.PIXELS, 6)
        assert small.shape == (3, 6, 6, 3)
        assert (shrink(self.PIXELS[1:2], 6)[0] == small[1]).all()

    @pytest.mark.parametrize("size", [6, 30])
    def test_oblongs_become_squares_of_the_size(self, size):
        assert shrink(self.PIXELS[:, :, :9], size).shape == (3, size, size, 3)

    def test_takes_views_without_own_memory(self):
        grey = np.broadcast_to(self.PIXELS[..., :1], self.PIXELS.shape)
        assert shrink(grey, 12).flags.c_contiguous
        assert shrink(grey, 6).shape == (3, 6, 6, 3)
