"""Training on all images, where nothing is left to validate by."""

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from folds.config.stages import Stage, shortened
from folds.runtime.device import Runtime
from folds.training.fit import fit_fold
from folds.training.refit import RefitPlan

CPU = Runtime.choose("cpu", "fp32")


def refit(problem, whole, **options):
    return fit_fold(problem, 0, problem.splits.folds, runtime=CPU, refit=whole, **options)


def told(best, rates=(1e-3,) * 9, averaged=False):
    """What the plan asks of a fold's outcome."""
    history = tuple(SimpleNamespace(learning_rate=rate) for rate in rates)
    return SimpleNamespace(kept_epoch=best, averaged=averaged, history=history)


def test_lasts_as_long_as_the_folds_best_epochs_in_the_mean():
    rate = 1e-3
    assert RefitPlan.of([told(2), told(3), told(5)]) == RefitPlan(4, False, (rate,) * 4)
    assert RefitPlan.of([told(0, averaged=True)]) == RefitPlan(1, True, (rate,))
    some = [told(1, averaged=number < 2) for number in range(4)]
    assert RefitPlan.of(some) == RefitPlan(2, False, (rate,) * 2)


def test_a_rate_is_reduced_where_most_folds_have_reduced_theirs():
    top, low, lower = 1.0, 0.1, 0.01
    early = told(4, (top, low, low, lower, lower))
    late = told(4, (top, top, top, low, low))
    between = told(4, (top, top, low, low, low))
    assert RefitPlan.of([early, late, between]).rates == (top, top, low, low, low)
    assert RefitPlan.of([early, late]).rates == (top, top, top, low, low)
    assert RefitPlan.of([early, early, late]).rates == (top, low, low, lower, lower)


@given(
    st.lists(
        st.lists(st.integers(0, 1), min_size=1, max_size=9).map(itertools.accumulate).map(list),
        min_size=1,
        max_size=6,
    ),
    st.data(),
)
def test_replayed_rates_are_of_a_fold_and_never_rise(reductions, data):
    """Folds that have stopped count with their last rate, so their end raises no rate."""
    folds = [
        told(data.draw(st.integers(0, len(one) - 1)), [0.1**number for number in one])
        for one in reductions
    ]
    plan = RefitPlan.of(folds)
    known = {rate.learning_rate for fold in folds for rate in fold.history}
    assert len(plan.rates) == plan.epochs <= max(len(one) for one in reductions)
    assert list(plan.rates) == sorted(plan.rates, reverse=True)
    assert known >= set(plan.rates)


def test_replays_the_folds_reductions(make_problem):
    """There are no scores to tell a plateau by; the folds', or made-up ones, are no matter."""
    settings = {"schedule": "plateau", "plateau_patience": 1, "stages": ["0:2:1e-2", "1:6:1e-6"]}
    problem = make_problem(**settings)
    folds = [fit_fold(problem, 0, fold, runtime=CPU) for fold in range(2)]
    plan = RefitPlan.of([replace(fold.outcome, kept_epoch=7) for fold in folds])
    rates = tuple(report.learning_rate for report in refit(problem, plan).history)
    assert rates == plan.rates
    assert rates[0] == 1e-2
    assert min(rates) < 1e-6


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


def test_shortened_restarts_end_at_the_bottom(make_problem):
    problem = make_problem(schedule="restarts", restart_epochs=3, stages=["1:6:1e-3"])
    rates = [report.learning_rate for report in refit(problem, RefitPlan(4, False)).history]
    assert rates == pytest.approx([1e-3, 0.8536e-3, 0.5e-3, 0.1464e-3], rel=1e-3)
    rates = [report.learning_rate for report in refit(problem, RefitPlan(5, False)).history]
    assert rates == pytest.approx([1e-3, 0.75e-3, 0.25e-3, 1e-3, 0.5e-3])


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
