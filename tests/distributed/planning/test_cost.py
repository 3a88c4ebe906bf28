import io
import subprocess
import sys
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given
from rich.console import Console

from distributed.planning.cost import (
    FINISH_S,
    FOLD_S,
    HEAD_S,
    RECORD_S,
    SHIFT_VIEW,
    START_S,
    Work,
    epoch_seconds,
    estimate,
    fold_seconds,
    image_seconds,
    lane_speed,
)
from distributed.planning.describe import describe_plan, print_plan
from distributed.planning.plan import Plan, Resources, make_plan
from folds.config.stages import Stage
from folds.runtime.trial import Rates

RATES = Rates(train=100.0, forward=1000.0, step_bytes=500, busy=1.0)
STAGES = (Stage(0.0, 3, 1e-3), Stage(0.5, 2, 1e-3), Stage(1.0, 1, 1e-4))


def work(tasks=5, *, shared=True, stages=STAGES):
    return Work(1000, 800, 200, tasks, stages, shared, 2000)


works = st.builds(
    Work,
    images=st.integers(10, 100_000),
    train_rows=st.integers(8, 100_000),
    held_out_rows=st.integers(2, 20_000),
    tasks=st.integers(1, 100),
    stages=st.lists(
        st.builds(Stage, st.floats(0, 1), st.integers(1, 20), st.just(1e-3)), min_size=1, max_size=4
    ).map(tuple),
    shared=st.booleans(),
    image_bytes=st.integers(0, 10**10),
)


def gpus(number, **wishes):
    return lambda tasks: make_plan(
        Resources(number, number, (number,), gpus_per_node=8), tasks, **wishes
    )


def cores(number):
    return lambda tasks: make_plan(Resources(number, 0, (number,)), tasks)


@given(
    work=works,
    number=st.integers(1, 200),
    kind=st.sampled_from([gpus, lambda n: gpus(n, batch_norm=False), cores]),
)
def test_one_more_device_is_never_slower(work, number, kind):
    number = number * 8 if kind is not cores else number
    more = number + (8 if kind is not cores else 1)
    few, many = (estimate(kind(n)(work.tasks), work, RATES) for n in (number, more))
    assert many.total <= few.total * (1 + 1e-9)


@given(work=works, number=st.integers(1, 200))
def test_a_run_takes_longer_than_its_parts(work, number):
    found = estimate(cores(number)(work.tasks), work, RATES)
    assert min(found.shared, found.training, found.finish - FINISH_S) >= 0
    assert found.total >= START_S + FINISH_S + FOLD_S + found.shared
    assert found.finish - FINISH_S <= work.tasks * RECORD_S + 1e-6


@given(work=works, epochs=st.integers(1, 5))
def test_a_longer_schedule_is_never_faster(work, epochs):
    longer = replace(work, stages=(*work.stages, Stage(1.0, epochs, 1e-4)))
    plan = cores(4)(work.tasks)
    assert estimate(plan, longer, RATES).total > estimate(plan, work, RATES).total


def test_the_cost_of_an_image_is_between_a_pass_and_a_step():
    assert image_seconds(0.0, RATES) == pytest.approx(0.001)
    assert image_seconds(1.0, RATES) == pytest.approx(0.010)
    assert image_seconds(0.5, RATES) == pytest.approx(0.0055)
    noisy = replace(RATES, train=2000.0)  # a step cannot be faster than its forward pass
    assert image_seconds(1.0, noisy) == image_seconds(0.0, noisy)


def test_epochs_by_hand():
    frozen, half, full = 1000 * HEAD_S, 800 * 0.0055 + 0.2, 8.2
    expected = [frozen, frozen, frozen, half, half, full]
    assert epoch_seconds(work(), RATES) == pytest.approx(expected)
    expected[:3] = [1.0, 1.0, 1.0]
    assert epoch_seconds(work(shared=False), RATES) == pytest.approx(expected)


@given(work=works, views=st.integers(0, 10**6))
def test_corrupted_images_are_passes_of_a_fold_that_its_cores_speed_up(work, views):
    seen, plan = replace(work, shift_views=views), cores(2)(work.tasks)
    for task in range(work.tasks):
        more = fold_seconds(plan, task, seen, RATES) - fold_seconds(plan, task, work, RATES)
        passes = SHIFT_VIEW * views / RATES.forward
        assert more == pytest.approx(passes / lane_speed(plan, task, RATES), abs=1e-6)


def test_more_passes_cost_where_the_backbone_trains():
    once, often = (epoch_seconds(replace(work(shared=False), passes=n), RATES) for n in (1, 6))
    assert often[:3] == once[:3]
    for one, six, share in zip(once[3:], often[3:], (0.5, 0.5, 1.0), strict=True):
        assert six - one == pytest.approx(5 * 800 * image_seconds(share, RATES))


def test_a_learning_curve_takes_its_shares_of_all_folds():
    plan = Plan("cpu", 5, 1, 1, 5)
    plain, curve = (estimate(plan, replace(work(), curve=share), RATES) for share in (0.0, 1.5))
    assert curve.training == pytest.approx(plain.training * 2.5)
    assert curve.finish <= plain.finish


def test_only_the_frozen_epochs_at_the_beginning_are_shared():
    stages = (Stage(0.0, 1, 1e-3), Stage(1.0, 1, 1e-3), Stage(0.0, 1, 1e-3))
    first, _, last = epoch_seconds(work(stages=stages), RATES)
    assert first < last == pytest.approx(1.0)


def test_an_estimate_by_hand():
    plan = cores(2)(5)
    fold = FOLD_S + sum(epoch_seconds(work(), RATES))
    last = FOLD_S + sum(epoch_seconds(work(), RATES)) / lane_speed(plan, 4, RATES)
    found = estimate(plan, work(), RATES)
    assert found.shared == pytest.approx(4 * 1000 / 1000 / 2)  # three views and a plain one
    assert found.training == pytest.approx(2 * fold + last)
    assert found.finish == pytest.approx(FINISH_S + RECORD_S)  # the others while the last trained
    assert (found.worker_bytes, found.device_bytes) == (2500, 2000 + 2 * 500)
    assert estimate(plan, work(shared=False), RATES).shared == 0


def test_recording_takes_over_when_many_folds_end_together():
    found = estimate(gpus(100)(100), work(100), RATES)
    assert found.finish == pytest.approx(FINISH_S + 100 * RECORD_S)


def test_speed_of_a_lane():
    assert lane_speed(gpus(8)(8), 0, RATES) == 1
    assert lane_speed(Plan("cuda", 2, 4, 1, 2), 0, RATES) == pytest.approx(3.6)
    assert lane_speed(cores(2)(5), 4, RATES) == pytest.approx(1.7)
    half = replace(RATES, busy=0.5)
    for share, speed in ((2, 1.0), (4, 0.5)):
        assert lane_speed(Plan("cuda", 8, 1, 1, 8, 0, share), 0, half) == speed


def test_lanes_that_share_a_gpu_add_up_in_its_memory():
    plan = Plan("cuda", 3, 1, 1, 6, lanes_per_gpu=3)
    assert estimate(plan, work(6), RATES).device_bytes == 3 * 2500


def test_a_plan_for_other_work_is_refused():
    with pytest.raises(ValueError, match="a plan for 5 tasks, and work of 6"):
        estimate(cores(2)(5), work(6), RATES)


def test_the_model_needs_neither_ray_nor_torch():
    code = "import distributed.planning.cost, sys; assert not {'ray', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def names(count):
    return [f"repeat {n // 5 + 1} fold {n % 5 + 1}" for n in range(count)]


def test_the_report_says_who_trains_what_and_how_long():
    stream = io.StringIO()
    fold_names = [f"fold {n}" for n in range(1, 6)]
    plan = cores(2)(5)
    print_plan(Console(file=stream, width=80), plan, fold_names, work(), RATES)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "lanes     2, each of 1 CPU worker of 1 core"
    assert lines[1] == "lane 1    fold 1, fold 3, fold 5 (2 cores)"
    assert lines[2] == "lane 2    fold 2, fold 4"
    assert lines[-2].startswith("total     1 min ")
    assert lines[-2].endswith("measured on this machine")
    assert lines[-1] == "memory    2 kB a worker; 3 kB for all workers, images once"


def test_without_rates_the_report_says_how_to_get_them():
    lines = describe_plan(gpus(8)(5), names(5), None)
    assert lines[-1] == "time      no rates: run once, or without --plan"
    assert "idle      3 GPUs, see --workers-per-fold" in lines


@given(number=st.integers(1, 300), tasks=st.integers(1, 100))
def test_the_report_fits_a_terminal_and_counts_every_fold(number, tasks):
    plan = gpus(number)(tasks)
    lines = describe_plan(plan, names(tasks), estimate(plan, work(tasks), RATES))
    assert max(map(len, lines)) <= 80
    if plan.lanes > 8:
        words = next(line for line in lines if line.startswith("folds")).split()[1:]
        pairs = zip(words[0::5], words[3::5], strict=True)  # "4 lanes with 3 folds, ..."
        assert sum(int(lanes) * int(folds) for lanes, folds in pairs) == tasks


def test_fold_seconds_of_wider_lanes():
    one, four = (Plan("cuda", 1, workers, 1, 1) for workers in (1, 4))
    alone, workers = (fold_seconds(plan, 0, work(1), RATES) - FOLD_S for plan in (one, four))
    assert alone / workers == pytest.approx(3.6)


def test_steps_are_whole_batches_of_all_epochs_and_folds():
    some = replace(work(5), train_rows=100, stages=(Stage(0.0, 2, 1e-3), Stage(1.0, 1, 1e-3)))
    assert some.steps(32) == 5 * 3 * 3
    assert some.steps(128) == 5 * 3  # an epoch of fewer images is one step
