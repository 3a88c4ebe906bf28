"""Folds that train on a share of their training part."""

from dataclasses import replace

import numpy as np
import pytest

from folds.errors import UserError
from folds.model.backbone import build
from folds.runtime.device import Runtime
from folds.splits.make import tasks
from folds.training.curve import check_curve, without_shift
from folds.training.fit import fit_fold
from folds.training.frozen import FrozenFeatureExtractor, shareable_views
from tests.conftest import small_images

CPU = Runtime.choose("cpu", "fp32")


def train(problem, share=1.0, **options):
    return fit_fold(problem, 0, 1, runtime=CPU, share=share, **options)


def check(problem):
    check_curve(problem, list(tasks(problem.splits)))


def test_the_validation_part_is_the_same_and_what_trains_is_less(make_problem):
    problem = make_problem()
    whole, part = train(problem), train(problem, 0.5)
    np.testing.assert_array_equal(whole.rows, part.rows)
    assert not np.array_equal(whole.probabilities, part.probabilities)
    full, held_out = problem.parts(0, 1)
    half, same = problem.parts(0, 1, 0.5)
    np.testing.assert_array_equal(held_out, same)
    assert set(half) < set(full)
    assert len(half) == len(full) / 2


def test_the_whole_share_and_the_flag_change_nothing(make_problem):
    plain, asked = train(make_problem()), train(make_problem(learning_curve=[0.5]), 1.0)
    np.testing.assert_array_equal(plain.probabilities, asked.probabilities)
    assert plain.measured == asked.measured


def test_goes_on_from_a_checkpoint_as_if_never_interrupted(make_problem):
    problem, checkpoints = make_problem(), []
    whole = train(problem, 0.5, on_checkpoint=checkpoints.append)
    resumed = train(problem, 0.5, checkpoint=checkpoints[0])
    np.testing.assert_array_equal(whole.probabilities, resumed.probabilities)


def test_features_that_all_folds_share_change_nothing(make_problem):
    model = build("test_resnet", classes=3, size=32, dropout=0.0, pretrained=None, seed=7)
    problem = make_problem(backbone="test_resnet", pretrained=model.backbone.state_dict())
    extractor = FrozenFeatureExtractor(problem, CPU)
    views = shareable_views(problem, 10**9)
    outputs = {view: extractor.outputs(view, 0, len(problem.images)) for view in views}
    shared = train(problem, 0.5, frozen_features=outputs.get)
    np.testing.assert_allclose(train(problem, 0.5).probabilities, shared.probabilities, atol=1e-4)


def test_whole_sites_are_in_or_out(make_problem):
    sites = np.array([f"lab{number % 8}" for number in range(64)])
    images = replace(small_images(), columns={"site": sites})
    problem = make_problem(images, split_by="site", batch_size=4)
    train, _ = problem.parts(0, 0, 0.5)
    outside = np.setdiff1d(problem.parts(0, 0)[0], train)
    assert len(set(sites[train])) == len(set(sites[outside])) == 2
    assert not set(sites[train]) & set(sites[outside])


class TestCheck:
    def test_a_class_that_is_lost(self, make_problem):
        problem = make_problem(small_images((40, 40, 4)), learning_curve=[0.05], batch_size=2)
        with pytest.raises(UserError, match=r"--learning-curve 0\.05: of 42 .* class 'class2'"):
            check(problem)

    def test_fewer_images_than_a_batch(self, make_problem):
        with pytest.raises(
            UserError, match=r"--learning-curve 0\.25: .* \d left, .*--batch-size 16"
        ):
            check(make_problem(learning_curve=[0.75, 0.25]))

    def test_what_can_be_trained_is_let_through(self, make_problem):
        check(make_problem(learning_curve=[0.75, 0.25], batch_size=4))
        check(make_problem())


def test_shift_is_left_out_where_nothing_is_chosen_by_it(make_problem):
    assert without_shift(make_problem(shift="fast")).config.evaluation.shift == "off"
    chosen = make_problem(shift="fast", select_by="shift.macro_f1")
    assert without_shift(chosen).config.evaluation.shift == "fast"
