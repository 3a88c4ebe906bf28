import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from folds.config import DataConfig
from folds.images import demo, load, load_unlabelled
from folds.images.resize import cover, shrink


@pytest.fixture(scope="module")
def cells():
    return load(DataConfig(data="demo"), seed=0, largest=64)


class TestDemo:
    def test_is_the_same_every_time(self, cells):
        few = demo.load(80)
        assert few.digest == demo.load(80).digest
        assert (few.pixels[0] == cells.pixels[0]).all()

    def test_has_eight_named_classes_of_unequal_size(self, cells):
        assert len(cells) == 1000
        assert cells.class_names == (
            "basophil", "eosinophil", "erythroblast", "immature granulocyte",
            "lymphocyte", "monocyte", "neutrophil", "platelet",
        )  # fmt: skip
        counts = list(cells.counts.values())
        assert min(counts) >= 80
        assert max(counts) > 1.5 * min(counts)

    def test_is_colour_pictures(self, cells):
        assert cells.pixels.shape == (1000, 64, 64, 3)
        assert cells.pixels.dtype == np.uint8
        assert cells.pixels.std(axis=(1, 2, 3)).min() > 5
        assert len(np.unique(cells.pixels.reshape(1000, -1), axis=0)) == 1000

    @pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
    def test_a_linear_model_on_pixels_is_not_enough(self, cells):
        pixels = (cells.pixels[:, ::2, ::2].reshape(len(cells), -1) / 255).astype(np.float32)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=60))
        with threadpool_limits(1):  # two BLAS threads on a busy machine take fifty times as long
            accuracy = cross_val_score(model, pixels, cells.labels, cv=3).mean()
        assert 0.2 < accuracy < 0.8

    def test_limit_and_image_size_hold(self):
        images = load(DataConfig(data="demo", limit=16, image_size=32), seed=0, largest=64)
        assert images.pixels.shape == (16, 32, 32, 3)


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
