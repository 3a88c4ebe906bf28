"""The demo's images: always the same, hard enough, and with planted things that can be found."""

import numpy as np
import pytest
from scipy.ndimage import laplace
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from folds.audit import audit
from folds.config import DataConfig
from folds.images import load
from folds.images.demo import cells


@pytest.fixture(scope="module")
def images():
    return load(DataConfig(data="demo"), seed=0, largest=64)


@pytest.fixture(scope="module")
def lab2():
    return load(DataConfig(data="demo-lab2"), seed=0, largest=64)


def named(images, word):
    """Rows of the images whose name has a word in it."""
    return np.flatnonzero(np.char.find(images.ids, word) >= 0)


ROWS = [0, 300, 600, 900, 999]
MEANS = [
    [213.5, 183.8, 205.5],
    [193.7, 176.2, 188.3],
    [202.1, 185.8, 194.6],
    [211.2, 170.5, 173.2],
    [177.5, 177.6, 177.6],
]


class TestImages:
    def test_are_the_same_every_time_and_from_every_machine(self, images):
        few = cells(80)
        assert few.digest == cells(80).digest
        assert (few.pixels[0] == images.pixels[0]).all()
        # on another processor a rounding may fall the other way, and no more
        first = images.pixels[ROWS].mean(axis=(1, 2))
        np.testing.assert_allclose(first, MEANS, atol=0.1)

    def test_are_of_eight_named_classes_of_unequal_size(self, images):
        assert len(images) == 1000
        assert images.class_names == (
            "basophil", "eosinophil", "erythroblast", "immature granulocyte",
            "lymphocyte", "monocyte", "neutrophil", "platelet",
        )  # fmt: skip
        counts = list(images.counts.values())
        assert min(counts) >= 75
        assert max(counts) > 1.5 * min(counts)

    def test_are_colour_pictures(self, images):
        assert images.pixels.shape == (1000, 64, 64, 3)
        assert images.pixels.dtype == np.uint8
        assert images.pixels.std(axis=(1, 2, 3)).min() > 4
        assert len(np.unique(images.pixels.reshape(1000, -1), axis=0)) == 1000 - 5

    def test_lie_in_the_folder_of_their_class(self, images):
        folders = [name.split("/")[0] for name in images.ids]
        assert folders == [images.class_names[label] for label in images.labels]

    @pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
    def test_are_not_told_by_a_linear_model_on_pixels(self, images):
        pixels = (images.pixels[:, ::2, ::2].reshape(len(images), -1) / 255).astype(np.float32)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=60))
        with threadpool_limits(1):  # two BLAS threads on a busy machine take fifty times as long
            accuracy = cross_val_score(model, pixels, images.labels, cv=3).mean()
        assert 0.2 < accuracy < 0.8

    def test_limit_and_image_size_hold(self):
        few = load(DataConfig(data="demo", limit=16, image_size=32), seed=0, largest=64)
        assert few.pixels.shape == (16, 32, 32, 3)


@pytest.fixture(scope="module")
def found(images):
    return audit(images)


class TestPlanted:
    def test_junk_is_what_the_audit_finds(self, images, found):
        junk = named(images, "/junk-")
        assert len(junk) == 8
        assert set(junk) <= set(np.flatnonzero(found.junk))
        assert found.junk.sum() <= 8 + 3

    def test_copies_are_what_the_audit_finds(self, images, found):
        copies = named(images, "/copy-of-")
        told = {frozenset(images.ids[pair].tolist()) for pair in found.pairs}
        planted = [str(name) for name in images.ids[copies]]
        assert told == {frozenset((name, name.replace("copy-of-", ""))) for name in planted}
        assert len(planted) == 10
        assert found.exact.sum() == 5

    def test_mislabelled_cells_are_few(self, images):
        assert len(named(images, "/wrong-")) == 12


class TestLab2:
    def test_has_the_same_classes_but_no_image_and_nothing_planted(self, images, lab2):
        assert lab2.class_names == images.class_names
        assert min(lab2.counts.values()) > 0
        both = np.concatenate([images.pixels, lab2.pixels])
        assert len(np.unique(both.reshape(len(both), -1), axis=0)) == 995 + len(lab2)
        found = audit(lab2)
        assert not found.junk.any()
        assert not len(found.pairs)

    def test_is_bluer_darker_and_less_sharp(self, images, lab2):
        home, other = (np.asarray(each.pixels, float).mean(axis=(1, 2)) for each in (images, lab2))
        assert np.median(other.sum(1)) < np.median(home.sum(1)) - 30
        assert np.median(other[:, 2] - other[:, 0]) > np.median(home[:, 2] - home[:, 0]) + 10
        fine, blurred = (
            np.median(np.abs(laplace(each.pixels.astype(float).mean(3), axes=(1, 2))).max((1, 2)))
            for each in (images, lab2)
        )
        assert blurred < fine
