"""Training on all images, where nothing is left to validate by."""

import math

import numpy as np
import pytest
import torch

from folds.config.stages import Stage, shortened
from folds.runtime.device import Runtime
from folds.training.fit import fit_fold
from folds.training.refit import RefitPlan

CPU = Runtime.choose("cpu", "fp32")


def refit(problem, whole, **options):
    return fit_fold(problem, 0, problem.splits.folds, runtime=CPU, refit=whole, **options)


def test_lasts_as_long_as_the_folds_best_epochs_in_the_mean():
    assert RefitPlan.of([2, 3, 5], [False] * 3) == RefitPlan(4, False)
    assert RefitPlan.of([0], [True]) == RefitPlan(1, True)
    assert RefitPlan.of([1, 1, 1, 1], [True, True, False, False]) == RefitPlan(2, False)


def test_keeps_the_last_epoch_and_has_no_scores(make_problem):
    problem, checkpoints = make_problem(stages=["1:4:1e-3"], tta="flips", shift="fast"), []
    result = refit(problem, RefitPlan(3, False), on_checkpoint=checkpoints.append)
    assert (result.kept_epoch, len(result.history)) == (2, 3)
    assert len(result.rows) == len(result.corrupted.rows) == 0
    assert result.scores == result.other_views == result.measured == {}
    assert all(math.isnan(report.val_accuracy) for report in result.history)
    again = refit(problem, RefitPlan(3, False), checkpoint=checkpoints[0])
    assert all(torch.equal(tensor, again.weights[name]) for name, tensor in result.weights.items())


def test_the_learning_rate_falls_towards_its_end(make_problem):
    problem = make_problem(stages=["0:1:1e-2", "1:6:1e-3"])
    rates = [report.learning_rate for report in refit(problem, RefitPlan(4, False)).history]
    assert rates == pytest.approx([1e-2, 1e-3, 0.75e-3, 0.25e-3])


def test_a_shortened_schedule_is_its_beginning():
    stages = (Stage(0, 3, 1e-2), Stage(0.5, 2, 1e-3), Stage(1, 6, 1e-4))
    assert shortened(stages, 11) == stages
    assert shortened(stages, 5) == stages[:2]
    assert [stage.epochs for stage in shortened(stages, 7)] == [3, 2, 2]
    assert [stage.epochs for stage in shortened(stages, 1)] == [1]


def test_trains_on_every_image_but_the_holdout(make_problem):
    """An image that no label fits is told by the loss, unless it is set aside."""
    problem = make_problem(holdout=0.25, folds=2)
    train, held_out = problem.splits.parts(0, problem.splits.folds, problem.images.ids)
    holdout = problem.splits.holdout(problem.images.ids)
    assert sorted([*train, *holdout]) == list(range(len(problem.images)))
    assert len(held_out) == 0
    result = refit(problem, RefitPlan(2, False))
    assert result.holdout.shape == (len(holdout), 3)
    np.testing.assert_allclose(result.holdout.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("averaged", [False, True])
def test_keeps_the_weights_that_the_folds_kept(make_problem, averaged):
    plain = refit(make_problem(), RefitPlan(2, False))
    other = refit(make_problem(ema=0.9), RefitPlan(2, averaged))
    same = all(torch.equal(tensor, other.weights[name]) for name, tensor in plain.weights.items())
    assert same == (not averaged)
    assert other.averaged == averaged
