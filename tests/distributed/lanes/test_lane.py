"""Lanes on a real local Ray."""

import os

import numpy as np
import pytest

from distributed.lanes import lane as lane_module
from distributed.lanes.lane import Lane, run_lane
from distributed.lanes.ledger import Ledger
from distributed.planning.plan import Plan
from distributed.workspace import Workspace
from folds.files import read_values
from folds.runtime.device import Runtime
from folds.runtime.trial import Trial
from tracking.events import EpochEnded, Failed, Finished

CPU = Runtime.choose("cpu", "fp32")
pytestmark = pytest.mark.usefixtures("local_ray")


def train(ray, folder, problem, *, workers, tasks=1, trial=None):
    """Train folds through one lane of some workers; returns the journal and the workspace."""
    todo = [(0, fold) for fold in range(tasks)]
    ledger = ray.remote(Ledger).options(num_cpus=0).remote(str(folder), todo, 1)
    plan = Plan("cpu", 1, workers, 1, tasks)
    run_lane(
        Lane(0, ray.put(problem), ledger, plan, CPU, trial),
        storage=str(folder / "ray"),
        name=f"w{workers}",
    )
    return ray.get(ledger.events.remote(0)), Workspace(folder)


def reports(events):
    return [event.report for event in events if isinstance(event, EpochEnded)]


def test_one_worker_and_two_train_the_same(local_ray, tmp_path, make_problem):
    problem = make_problem(dropout=0.3)
    events, results = {}, {}
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        events[workers], space = train(local_ray, folder, problem, workers=workers)
        results[workers] = space.read_outcome(0)
    one, two = (reports(events[n]) for n in (1, 2))
    assert len(one) == len(two) == 2
    for first, second in zip(one, two, strict=True):
        for name in ("first_loss", "train_loss", "val_loss"):
            assert getattr(first, name) == pytest.approx(getattr(second, name), abs=1e-4)
    np.testing.assert_array_equal(results[1].rows, results[2].rows)
    np.testing.assert_allclose(results[1].probabilities, results[2].probabilities, atol=1e-3)


def test_workers_measure_how_to_compute_before_they_train(local_ray, tmp_path, make_problem):
    problem = make_problem(precision="fp32")
    trial = Trial("test_resnet", 2, 32, 4, "frozen", "fp32", "off", 1, 1, 1000)
    events, space = train(local_ray, tmp_path, problem, workers=2, trial=trial)
    assert isinstance(events[-1], Finished)
    settings = read_values(space.runtime)
    assert settings.keys() == CPU.settings.keys()
    assert (settings["precision"], settings["compiled"]) == ("fp32", False)


def test_folds_flow_through_a_lane_and_one_that_diverges_does_not_stop_the_next(
    local_ray, tmp_path, make_problem
):
    problem = make_problem(stages=["1:1:1e30"])
    events, space = train(local_ray, tmp_path, problem, workers=1, tasks=2)
    failed = [event for event in events if isinstance(event, Failed)]
    assert [event.task for event in failed] == [0, 1]
    assert "learning rate 1e+30" in failed[0].cause
    assert not space.finished(0)


def test_a_lost_worker_costs_an_epoch_and_no_more(local_ray, tmp_path, make_problem, monkeypatch):
    problem = make_problem(stages=["1:3:1e-3"])
    (tmp_path / "calm").mkdir()
    calm, calm_space = train(local_ray, tmp_path / "calm", problem, workers=1)
    marker = tmp_path / "died"

    def event_or_death(*, task, report):
        if report.epoch == 1 and not marker.exists():
            marker.touch()
            os._exit(1)
        return EpochEnded(task=task, report=report)

    original = lane_module._work

    def work(config):
        lane_module.EpochEnded = event_or_death
        original(config)

    monkeypatch.setattr(lane_module, "_work", work)
    (tmp_path / "lost").mkdir()
    lost, lost_space = train(local_ray, tmp_path / "lost", problem, workers=1)
    assert marker.exists()
    assert [report.epoch for report in reports(lost)] == [0, 1, 2]
    losses = ([report.val_loss for report in reports(events)] for events in (lost, calm))
    assert next(losses) == next(losses)
    np.testing.assert_array_equal(
        lost_space.read_outcome(0).probabilities, calm_space.read_outcome(0).probabilities
    )
