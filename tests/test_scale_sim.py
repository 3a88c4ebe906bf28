import json
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from benchmarks import driver_load, scale_report, scale_sim
from benchmarks.scale_events import Weather, simulate
from benchmarks.scale_report import Point
from distributed.planning.cost import FOLD_S, THREAD_GAIN, Work, epoch_seconds, estimate
from distributed.planning.plan import Plan, Resources, make_plan
from folds.config.stages import Stage
from folds.runtime.trial import Rates

RATES = scale_sim.CPU_WORKER


@given(
    devices=st.integers(1, 64),
    tasks=st.integers(1, 30),
    batch_norm=st.booleans(),
    images=st.integers(20, 100_000),
)
def test_in_perfect_weather_a_run_ends_when_the_cost_model_says(devices, tasks, batch_norm, images):
    plan = scale_sim.plan_of(devices, tasks, batch_norm=batch_norm)
    work = scale_sim.work_of(images, tasks)
    found = simulate(plan, work, RATES, Weather(), seed=0)
    assert found.seconds == pytest.approx(estimate(plan, work, RATES).total)
    assert not any(found.lost)


@given(cores=st.integers(1, 12), tasks=st.integers(1, 20))
def test_the_idle_cores_of_a_last_round_are_used(cores, tasks):
    plan, work = make_plan(Resources(cores, 0, (cores,)), tasks), scale_sim.work_of(2000, tasks)
    expected = estimate(plan, work, RATES)
    found = simulate(plan, work, RATES, Weather(), seed=0).seconds
    assert expected.total - expected.finish < found <= expected.total * (1 + 1e-9)


@given(seed=st.integers(0, 1000), devices=st.integers(1, 40), sigma=st.floats(0, 0.5))
@settings(deadline=None, max_examples=30)
def test_losses_only_cost(seed, devices, sigma):
    plan, work = scale_sim.plan_of(devices, 7, batch_norm=True), scale_sim.work_of(2000, 7)
    calm, bad = (
        simulate(plan, work, RATES, Weather(sigma, losses), seed) for losses in (0.0, 20.0)
    )
    assert bad.seconds >= calm.seconds


def test_a_lost_worker_goes_on_from_its_last_epoch():
    plan, work = Plan("cuda", 1, 1, 1, 1), scale_sim.work_of(20_000, 1)
    again = max(epoch_seconds(work, RATES)) + FOLD_S
    calm = simulate(plan, work, RATES, Weather(), 0).seconds
    losses = set()
    for seed in range(20):
        bad = simulate(plan, work, RATES, Weather(losses=10.0, restart=50.0), seed)
        (lost,) = bad.lost
        losses.add(lost)
        assert 50.0 * bool(lost) <= bad.seconds - calm <= lost * (50.0 + again) + 1e-6
    assert len(losses) > 2


def test_a_lost_node_takes_all_its_lanes_and_no_others():
    work, plan = scale_sim.work_of(20_000, 16), scale_sim.plan_of(16, 16, batch_norm=True)
    runs = [simulate(plan, work, RATES, Weather(losses=5.0), seed).lost for seed in range(10)]
    assert all(len(set(lost[:8])) == len(set(lost[8:])) == 1 for lost in runs)
    assert any(lost[0] != lost[8] for lost in runs)


def test_the_same_seed_gives_the_same_run_and_another_another():
    plan, work = scale_sim.plan_of(4, 5, batch_norm=True), scale_sim.work_of(2000, 5)
    weather = Weather(0.3, 1.0)
    first, again, other = (simulate(plan, work, RATES, weather, seed) for seed in (1, 1, 2))
    assert first == again != other


# Whole commands of `benchmarks.growth` (LOG.md), seconds by folds and cores of the nodes: folds of
# 2,000 images by a Ray of its own, and by a cluster of two nodes.
MEASURED = {
    (2, (2,)): 38.3, (5, (2,)): 56.8, (10, (2,)): 83.2, (20, (2,)): 145.8,
    (10, (1, 1)): 79.4,
}  # fmt: skip


@pytest.mark.parametrize(("tasks", "nodes"), MEASURED)
def test_the_model_is_as_long_as_measured_runs(tasks, nodes):
    """Of all its numbers only the speed of a worker is fitted, to 10 folds on one node."""
    held_out = 2000 // tasks
    work = Work(2000, 2000 - held_out, held_out, tasks, (Stage(1.0, 1, 1e-3),), True, 0)
    plan = make_plan(Resources(2, 0, nodes), tasks, device="cpu", steps=work.steps(64))
    speed = 195.0 * (1 + THREAD_GAIN * (plan.threads - 1))
    rates = Rates(train=speed, forward=4 * speed, step_bytes=0, busy=1.0)
    found = simulate(plan, work, rates, Weather(), seed=0).seconds
    assert found == pytest.approx(MEASURED[tasks, nodes], rel=0.1)


def point(devices, *seconds, tasks=5):
    return Point(2000, tasks, devices, True, "calm", seconds, 0.0)


def test_efficiency_is_speed_up_by_device():
    curve = [point(1, 90.0, 100.0, 120.0), point(4, 50.0), point(8, 48.0)]
    assert [scale_report.efficiency(p, curve) for p in curve] == [1.0, 0.5, 100 / 48 / 8]
    assert scale_report.enough(curve).devices == 4


def test_durations_have_two_or_three_digits():
    assert [scale_report.duration(s) for s in (4.2e-6, 4.26, 59, 252, 36_000)] == [
        "4.2 µs", "4.3 s", "59 s", "4.2 min", "10 h",
    ]  # fmt: skip
    assert scale_report.spread((3000.0, 3700.0, 9000.0)) == "1.0 h (0.8 to 2.5)"


def test_the_driver_is_measured():
    cost = driver_load.measure("test_resnet", tells=3, saves=3)
    assert len(cost.tells) == len(cost.saves) == 3
    assert cost.seconds > 0
    assert cost.checkpoint_bytes > 1e6


def test_the_script_writes_picture_and_text(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scale_sim, "IMAGES", (2000,))
    monkeypatch.setattr(scale_sim, "TASKS", (5, 10))
    monkeypatch.setattr(scale_sim, "DEVICES", (1, 8, 32))
    rates = tmp_path / "rates.json"
    rates.write_text(json.dumps(vars(replace(RATES, train=440.0))))
    argv = ["scale_sim", "--rates", str(rates), "--repetitions", "2", "--output", str(tmp_path)]
    monkeypatch.setattr("sys.argv", argv)
    monkeypatch.setattr(
        driver_load,
        "measure",
        lambda: driver_load.DriverCost((2e-5,), (0.02, 0.025, 0.3), 36_000_000),
    )
    scale_sim.main()
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "SCALING.md").read_text()
    assert "trains 440 images/s" in text
    assert "| 2,000 | 10 | no |" in text
    assert "25 ms (20 to 300)" in text
    assert "It can take\n40 epochs/s" in text
    assert "{" not in text
