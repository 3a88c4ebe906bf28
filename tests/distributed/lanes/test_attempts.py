"""Folds that run out of memory, or whose loss is no finite number, on a real Ray."""

import numpy as np
import pytest
import torch

from distributed.lanes import lane as lane_module
from folds.errors import DivergenceError
from folds.runtime.device import Runtime
from folds.training import fit as fit_module
from folds.training.attempt import FIRST
from folds.training.fit import fit_fold
from tests.conftest import small_images
from tests.distributed.lanes.test_lane import reports, train
from tracking.events import Failed, Finished, Retried

CPU = Runtime.choose("cpu", "fp32")
pytestmark = pytest.mark.usefixtures("local_ray")


def with_room_for(images):
    """The loop of a worker whose network has no room for more images at once."""
    original_work, original_build = lane_module._work, fit_module.build

    def refuse(network, given):
        if torch.is_grad_enabled() and len(given[0]) > images:
            torch.empty(2**50)

    def build(*args, **options):
        network = original_build(*args, **options)
        network.register_forward_pre_hook(refuse)
        return network

    def work(config):
        fit_module.build = build
        original_work(config)

    return work


@pytest.fixture
def hungry(make_problem):
    """A problem of which each fold trains on one batch."""
    images = small_images((64, 64), side=160)
    return make_problem(images=images, batch_size=64, stages=["1:2:1e-3"], dropout=0.3)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_without_memory_trains_the_same_in_smaller_parts(
    local_ray, tmp_path, hungry, monkeypatch, workers
):
    monkeypatch.setattr(lane_module, "_work", with_room_for(10))
    events, space = train(local_ray, tmp_path, hungry, workers=workers)
    tried = [event for event in events if isinstance(event, Retried)]
    assert tried
    assert [event.parts for event in tried] == ([2, 4, 8] if workers == 1 else [2, 4])
    assert "out of memory (RuntimeError: [enforce fail" in tried[0].cause
    assert "each batch of 64 computed in 2 parts" in tried[0].cause
    assert isinstance(events[-1], Finished)
    calm = fit_fold(hungry, 0, 0, runtime=CPU)
    found = space.read_outcome(0)
    np.testing.assert_allclose(found.probabilities, calm.probabilities, atol=1e-4)
    for one, two in zip(found.history, calm.history, strict=True):
        assert one.train_loss == pytest.approx(two.train_loss, abs=1e-4)


def test_a_loss_that_is_not_finite_takes_half_the_rate(local_ray, tmp_path, make_problem):
    """In its second stage: it goes on from the end of the first, as it would anywhere else."""
    problem = make_problem(
        images=small_images(), backbone="test_resnet", batch_size=16, optimizer="sgd",
        schedule="constant", stages=["1:1:1e-3", "1:2:16"],
    )  # fmt: skip
    events, space = train(local_ray, tmp_path, problem, workers=1)
    tried = [event for event in events if isinstance(event, Retried)]
    attempts, calm = tried_by_hand(problem)
    assert [(event.parts, event.rate) for event in tried] == [(1, a.rate) for a in attempts]
    assert tried[0].cause.startswith("the ")
    assert "goes on from its last checkpoint with 0.5 of the learning rates" in tried[0].cause
    assert [report.epoch for report in reports(events)] == [0, 1, 2]
    rate = 16 * attempts[-1].rate
    assert [report.learning_rate for report in reports(events)] == [1e-3, rate, rate]
    np.testing.assert_array_equal(space.read_outcome(0).probabilities, calm.probabilities)


def tried_by_hand(problem):
    """The attempts after the first one, and the result, of a fold that this process trains."""
    attempt, attempts, checkpoints = FIRST, [], [None]
    while True:
        try:
            result = fit_fold(
                problem, 0, 0, runtime=CPU, attempt=attempt, checkpoint=checkpoints[-1],
                on_checkpoint=checkpoints.append,
            )  # fmt: skip
        except DivergenceError:
            attempt = attempt.slower()
            attempts.append(attempt)
        else:
            return attempts, result


@pytest.mark.parametrize("workers", [1, 2])
def test_one_that_never_is_finite_is_given_up_after_two_more_tries(
    local_ray, tmp_path, make_problem, workers
):
    problem = make_problem(stages=["1:1:1e30"])
    events, space = train(local_ray, tmp_path, problem, workers=workers, tasks=2)
    told = [(type(event), event.task) for event in events]
    for task in (0, 1):
        assert told.count((Retried, task)) == 2
        assert told.count((Failed, task)) == 1
    failed = [event for event in events if isinstance(event, Failed)]
    assert "learning rate 1e+30 x 0.25" in failed[0].cause
    assert "nor did 0.25 of the learning rates help" in failed[0].cause
    assert not space.finished(0)
