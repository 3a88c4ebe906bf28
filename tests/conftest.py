"""Fixtures that the tests of all three packages share."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from folds.config import Config
from folds.images import ImageSet
from folds.splits.make import make_splits
from folds.training.problem import Problem

settings.register_profile("crossfold", deadline=None)  # no test is judged by a clock
settings.load_profile("crossfold")

_SHARED = Path(__file__).resolve().parents[2] / "shared"


class FewRays(LoadScopeScheduling):
    """Shares the tests among processes by file, since a file's tests share what they have made.

    Of those of `distributed` one process has all that use the session's Ray, and one all that run
    commands, which start their own.
    """

    def _split_scope(self, nodeid):
        folder, file = nodeid.partition("::")[0].rsplit("/", 1)
        if folder.startswith("tests/distributed/"):
            return "session's Ray"
        return folder if folder == "tests/distributed" else f"{folder}/{file}"


def pytest_xdist_make_scheduler(config, log):
    """Let xdist share the tests so."""
    return FewRays(config, log)


@pytest.fixture(scope="session")
def shared():
    """The folder of real images and weights beside the checkout."""
    if not _SHARED.is_dir():
        pytest.skip("no ../shared beside the checkout: real images and weights are not there")
    return _SHARED


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Networks as small as these gain nothing from threads, and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """What the probe remembers, and files of images, are not put into the user's home."""
    patch = pytest.MonkeyPatch()
    patch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def make_images():
    """Factory of small image sets, see `small_images`."""
    return small_images


def small_images(counts=(24, 20, 20), *, side=32, groups=None, seed=0):
    """Noisy images whose mean colour tells the class; ids are shuffled over the classes."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int64)
    colours = np.random.default_rng(99).integers(60, 196, (len(counts), 3))
    noise = rng.normal(0, 25, (len(labels), side, side, 3))
    pixels = np.clip(colours[labels][:, None, None] + noise, 0, 255).astype(np.uint8)
    ids = np.array([f"image{row:04d}" for row in range(len(labels))])
    names = tuple(f"class{number}" for number in range(len(counts)))
    groups = ids.copy() if groups is None else np.asarray(groups).astype(np.str_)
    return ImageSet(pixels, labels, names, ids, groups)


@pytest.fixture(scope="session")
def make_problem():
    """Factory of small problems, see `small_problem`."""
    return small_problem


def small_problem(images=None, *, size=32, pretrained=None, **settings):
    """A problem of two folds that trains in about a second; `settings` by flag name."""
    settings = {
        "backbone": "test_vit",
        "folds": 2,
        "batch_size": 16,
        "stages": ["0:1:1e-2", "1:2:1e-3"],
        "shift": "off",
        **settings,
    }
    config = Config.from_flat(settings)
    images = small_images() if images is None else images
    splits = make_splits(images, config.split)
    return Problem(config, images, splits, size, config.train.stages, pretrained)
