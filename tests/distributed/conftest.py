import numpy as np
import pytest
from sklearn.datasets import load_digits

from distributed import cluster
from distributed.planning.plan import Resources
from folds.config import Config
from folds.images import ImageSet
from folds.splits.make import make_splits
from folds.training.problem import Problem
from tests.distributed.test_end_to_end import BASE, elsewhere, python


@pytest.fixture(scope="session")
def local_ray(tmp_path_factory):
    """The one Ray of the session, of its own and with two cores."""
    import ray

    patch = pytest.MonkeyPatch()
    patch.delenv("RAY_ADDRESS", raising=False)
    cluster.set_environment(None)
    cluster.start(None, Resources(2, 0, (2,)), verbose=False)
    yield ray
    ray.shutdown()
    patch.undo()


@pytest.fixture(scope="session")
def done(tmp_path_factory):
    """A folder in which the main job has run, with its output in `out`, and what it printed.

    It has been scored on other digits, too.
    """
    folder = tmp_path_factory.mktemp("job")
    np.savez(folder / "lab2.npz", images=elsewhere(), labels=load_digits().target[-60:])
    ran = python(
        folder, "distributed.cv", *BASE, "--stages", "1:2:1e-3", "--external", "lab2=lab2.npz",
        "--output", "out",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder, ran


@pytest.fixture
def make_problem():
    """A small problem with classes that differ in brightness; settings by flag name."""

    def make(count=64, images=None, **settings):
        rng = np.random.default_rng(0)
        labels = np.arange(count, dtype=np.int64) % 2
        pixels = rng.integers(0, 128, (count, 32, 32, 3), dtype=np.uint8)
        pixels += (labels * 100).astype(np.uint8)[:, None, None, None]
        ids = np.array([f"{row:04d}" for row in range(count)])
        images = images or ImageSet(pixels, labels, ("dark", "bright"), ids, ids)
        defaults = {
            "backbone": "test_vit", "stages": ["1:2:1e-3"], "folds": 2, "batch_size": 8,
            "weights": "none", "shift": "off",
        }  # fmt: skip
        config = Config.from_flat(defaults | settings)
        splits = make_splits(images, config.split)
        return Problem(config, images, splits, 160, config.train.stages, None)

    return make
