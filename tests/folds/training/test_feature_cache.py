"""Frozen features on disk: the right ones, once, whoever asks and whatever happens to the files."""

import os
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from folds.config import Config
from folds.model.backbone import build
from folds.model.weights import state_digest
from folds.runtime.device import Runtime
from folds.splits.make import make_splits
from folds.training.feature_cache import FeatureCache, frozen_features
from folds.training.fit import fit_fold
from folds.training.frozen import FrozenFeatureExtractor, no_frozen_features
from folds.training.frozen_view import PLAIN, View
from folds.training.problem import Problem
from tests.conftest import small_images

CPU = Runtime.choose("cpu", "fp32")
ROOM = 10**9


@pytest.fixture(scope="module")
def state():
    model = build("test_resnet", classes=3, size=32, dropout=0, pretrained=None, seed=5)
    return dict(model.backbone.state_dict())


@pytest.fixture
def problem(state):
    def make(**settings):
        images = settings.pop("images", small_images())
        given = {"backbone": "test_resnet", "stages": ["0:2:1e-3"], "folds": 2, "batch_size": 8}
        config = Config.from_flat(given | {"shift": "off"} | settings)
        splits = make_splits(images, config.split)
        return Problem(config, images, splits, 32, config.train.stages, state)

    return make


@pytest.fixture
def cache(tmp_path, state):
    def make(problem, budget=ROOM, runtime=CPU, weights=None):
        weights = weights or state_digest(state)
        return FeatureCache(problem, runtime, weights, tmp_path / "features", budget)

    return make


def files(tmp_path):
    return sorted((tmp_path / "features").glob("*.npy"))


def depth_of(cache):
    return next(iter(cache._paths)).depth


def test_they_are_what_the_front_puts_out(problem, cache):
    one = problem()
    own = cache(one)
    assert own.fill() == 3  # the plain view, and one an epoch
    for view in (View(PLAIN, depth_of(own)), View(1, depth_of(own))):
        truth = FrozenFeatureExtractor(one, CPU).outputs(view, 0, len(one.images))
        torch.testing.assert_close(own(view), truth)
    assert own(View(7, depth_of(own))) is None


def test_a_fold_is_trained_the_same_with_and_without_them(problem, cache):
    one = problem()
    with_them = fit_fold(one, 0, 0, runtime=CPU, frozen_features=cache(one))
    without = fit_fold(one, 0, 0, runtime=CPU)
    np.testing.assert_allclose(with_them.probabilities, without.probabilities, atol=1e-5)


@pytest.mark.parametrize(
    ("other", "computed"),
    [
        ({"head_dropout": 0.3, "weight_decay": 0.2, "batch_size": 16}, 0),
        ({"head_layers": [16], "optimizer": "sgd"}, 0),
        ({"stages": ["0:3:1e-2"]}, 1),  # one more epoch's view
        ({"augment": "strong"}, 2),  # the plain view is there
        ({"seed": 1}, 2),
        ({"pool": "max"}, 3),
        ({"images": small_images(seed=1)}, 3),
        ({"images": small_images().take(np.arange(64)[::-1].copy())}, 3),
    ],
)
def test_what_they_depend_on_has_files_of_its_own(problem, cache, other, computed):
    cache(problem()).fill()
    assert cache(problem(**other)).fill() == computed


def test_other_weights_and_layouts_have_files_of_their_own(problem, cache):
    one = problem()
    cache(one).fill()
    assert cache(one, weights="another").fill() == 3
    assert cache(one, runtime=replace(CPU, channels_last=False)).fill() == 3


def test_several_share_the_work_and_none_does_it_twice(problem, cache):
    caches = [cache(problem(stages=["0:6:1e-3"])) for _ in range(3)]
    computed = [0] * 3

    def fill(number):
        computed[number] = caches[number].fill()

    threads = [threading.Thread(target=fill, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(computed) == 7


@pytest.mark.parametrize("damage", [b"", b"no array", None])
def test_a_damaged_file_is_made_again(problem, cache, tmp_path, damage):
    own = cache(problem())
    own.fill()
    view = View(PLAIN, depth_of(own))
    truth = own(view).clone()
    for path in files(tmp_path):
        content = path.read_bytes() if damage is None else damage
        path.write_bytes(content[: len(content) // 2] if damage is None else content)
    torch.testing.assert_close(own(view), truth)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_byte_that_changed_is_found_and_the_file_made_again(problem, cache, tmp_path, data):
    one = problem(stages=["0:1:1e-3"], images=small_images((8, 8)))
    own = cache(one)
    own.fill()
    view = View(PLAIN, depth_of(own))
    path, truth = own._paths[view], own(view).clone()
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    torch.testing.assert_close(cache(one)(view), truth, rtol=0, atol=0)
    assert path.read_bytes() != bytes(content)


def test_what_was_not_used_for_longest_makes_room(problem, cache, tmp_path):
    old = cache(problem())
    old.fill()
    each = files(tmp_path)[0].stat().st_size
    new = cache(problem(augment="strong", stages=["0:1:1e-3"]), budget=round(3.5 * each))
    oldest, *others = sorted(files(tmp_path), key=lambda path: path in new._paths.values())
    for age, path in enumerate([oldest, *others]):
        os.utime(path, (age, age))
    new(View(0, depth_of(new)))
    assert not oldest.exists()
    assert all(path.exists() for path in others)


def test_views_that_do_not_fit_are_not_shared(problem, cache, tmp_path):
    own = cache(problem(), budget=1)
    assert own.fill() == 0
    assert own(View(PLAIN, 1)) is None
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_written_costs_time_only(problem, cache, tmp_path):
    (tmp_path / "features").write_text("a file, where the folder should be")
    own = cache(problem())
    view = View(PLAIN, depth_of(own))
    truth = FrozenFeatureExtractor(problem(), CPU).outputs(view, 0, 64)
    torch.testing.assert_close(own(view), truth)


def test_random_weights_and_no_budget_share_nothing(problem, state):
    for weights, budget in (("", ROOM), (state_digest(state), 0)):
        assert frozen_features(problem(), CPU, weights, budget) is no_frozen_features
