import hypothesis.strategies as st
import pytest
from hypothesis import assume, given

from distributed.planning.plan import FEW_STEPS, Resources, make_plan
from folds.errors import UserError
from folds.runtime.trial import Rates


def resources(cpus=2, gpus=0):
    return Resources(cpus, gpus, (cpus,))


@given(
    nodes=st.lists(st.integers(1, 64), min_size=1, max_size=6),
    gpus=st.integers(0, 64),
    folds=st.integers(1, 100),
)
def test_a_plan_never_asks_for_more_than_there_is(nodes, gpus, folds):
    plan = make_plan(Resources(sum(nodes), gpus, tuple(nodes)), folds)
    units = gpus if plan.device == "cuda" else sum(nodes)
    assert plan.lanes * plan.workers <= units
    assert plan.lanes <= folds
    assert plan.rounds * plan.lanes >= folds
    if plan.device == "cpu":
        assert sum(cores // plan.threads for cores in nodes) >= plan.lanes * plan.workers


def test_workers_fit_onto_the_nodes_and_not_only_onto_their_sum():
    three_of_three = Resources(9, 0, (3, 3, 3))
    assert make_plan(three_of_three, 4, lanes=4).threads == 1
    assert make_plan(three_of_three, 3, lanes=3).threads == 3


@given(cpus=st.integers(1, 128), folds=st.integers(1, 50))
def test_no_core_waits_while_a_fold_does(cpus, folds):
    plan = make_plan(resources(cpus), folds)
    assert plan.lanes == min(cpus, folds)
    assert plan.rounds == -(-folds // plan.lanes)


def test_the_cluster_does_not_choose_the_workers_of_a_fold():
    plan = make_plan(resources(64, 16), 5)
    assert (plan.device, plan.lanes, plan.workers, plan.idle) == ("cuda", 5, 1, 11)
    assert "11 GPUs idle, see --workers-per-fold" in plan.describe()
    assert make_plan(resources(64, 16), 5, workers=3).idle == 1


def test_cpu_wins_when_asked_for():
    assert make_plan(resources(8, 4), 5, device="cpu").device == "cpu"


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"device": "cuda"}, "no GPU"),
        ({"workers": 3}, "needs 3 cores and the cluster has 2"),
        ({"workers": 2, "lanes": 2}, "needs 4 cores"),
    ],
)
def test_an_impossible_wish_is_refused(wish, words):
    with pytest.raises(UserError, match=words):
        make_plan(resources(2), 5, **wish)


def test_more_gpus_than_the_cluster_has_are_refused():
    with pytest.raises(UserError, match="needs 8 GPUs and the cluster has 4; lower one of them"):
        make_plan(resources(32, 4), 5, workers=8)


def test_the_description_counts_correctly():
    words = make_plan(resources(2), 5).describe()
    assert words == "5 folds through 2 lanes of 1 CPU worker of 1 core, at most 3 folds a lane"


@given(
    cpus=st.integers(1, 64),
    folds=st.integers(1, 100),
    lanes=st.integers(1, 64),
    workers=st.integers(1, 4),
)
def test_the_folds_of_a_round_never_have_more_cores_than_the_node(cpus, folds, lanes, workers):
    assume(min(lanes, folds) * workers <= cpus)
    plan = make_plan(resources(cpus), folds, lanes=lanes, workers=workers)
    threads = [plan.threads_of(task) for task in range(folds)]
    for first in range(0, folds, plan.lanes):
        assert sum(threads[first : first + plan.lanes]) * workers <= cpus
    assert min(threads) == plan.threads
    last = threads[-plan.last_round :]
    if plan.last_round < plan.lanes:
        assert sum(last) == cpus // workers  # no core that could work is idle
        assert last == sorted(last, reverse=True)


def test_the_last_fold_gets_the_idle_core():
    plan = make_plan(resources(2), 5)
    assert [plan.threads_of(task) for task in range(5)] == [1, 1, 1, 1, 2]
    assert [make_plan(resources(2), 4).threads_of(task) for task in range(4)] == [1] * 4


@given(cpus=st.integers(1, 64), folds=st.integers(1, 20), workers=st.integers(1, 4))
def test_what_comes_after_all_folds_has_the_node_to_itself(cpus, folds, workers):
    assume(workers <= cpus)
    plan = make_plan(resources(cpus), folds, workers=workers)
    assert plan.threads_of(folds) == cpus // workers >= plan.threads


@pytest.mark.parametrize("there", [Resources(4, 0, (2, 2)), Resources(8, 2, (8,))])
def test_idle_cores_are_left_alone_on_several_nodes_and_with_gpus(there):
    plan = make_plan(there, 5, lanes=2)
    assert plan.threads_of(4) == plan.threads_of(5) == plan.threads


def rates(busy=0.5, step_bytes=10, train=100.0):
    return Rates(train, 1000.0, step_bytes, busy)


@given(
    gpus=st.integers(1, 16),
    folds=st.integers(1, 100),
    busy=st.floats(0.01, 1),
    memory=st.integers(0, 10_000),
    images=st.integers(0, 1000),
)
def test_lanes_that_share_a_gpu_fit_its_memory_and_end_no_later(gpus, folds, busy, memory, images):
    there = Resources(64, gpus, (64,), gpu_memory=memory)
    alone = make_plan(there, folds)
    plan = make_plan(there, folds, rates=rates(busy), image_bytes=images)
    share = plan.lanes_per_gpu
    assert plan.lanes <= gpus * share
    assert share == 1 or share * (10 + images) <= 0.8 * memory
    assert share == 1 or (share - 1) * busy < 1
    assert plan.rounds * max(1, share * busy) <= alone.rounds
    assert plan.resources_per_worker["GPU"] * share <= 1


def test_a_gpu_that_waits_is_shared():
    there = Resources(8, 1, (8,), gpu_memory=100)
    assert make_plan(there, 5).lanes_per_gpu == 1
    plan = make_plan(there, 6, rates=rates(busy=0.5))
    assert (plan.lanes, plan.lanes_per_gpu, plan.rounds, plan.idle) == (2, 2, 3, 0)
    assert plan.resources_per_worker == {"CPU": 1, "GPU": 0.5}
    assert "2 lanes of 1/2 GPU" in plan.describe()
    assert make_plan(there, 5, rates=rates(busy=1.0)).lanes_per_gpu == 1


def test_lanes_per_gpu_may_be_wished():
    plan = make_plan(Resources(8, 2, (8,)), 5, lanes_per_gpu=3)
    assert (plan.lanes, plan.lanes_per_gpu, plan.devices) == (5, 3, 2)


@given(gpus=st.integers(1, 64), folds=st.integers(1, 20), node=st.integers(0, 8))
def test_without_batch_norm_idle_gpus_make_lanes_wider(gpus, folds, node):
    assume(not node or gpus % node == 0)
    there = Resources(64, gpus, (64,), gpus_per_node=node)
    plan = make_plan(there, folds, batch_norm=False, batch_size=16)
    assert plan.workers <= min(16, node or gpus)
    assert plan.lanes * plan.workers + plan.idle == gpus
    if plan.workers > 1:
        assert plan.rounds == 1
        assert gpus // (node or gpus) * ((node or gpus) // plan.workers) >= plan.lanes


def test_wider_lanes_stay_on_a_node():
    there = Resources(64, 16, (32, 32), gpus_per_node=8)
    assert make_plan(there, 5, batch_norm=False).workers == 2  # 3 would not fit twice and a half
    assert make_plan(there, 4, batch_norm=False).workers == 4
    assert make_plan(there, 1, batch_norm=False).workers == 8
    assert make_plan(there, 20, lanes=4, batch_norm=False).workers == 4


@pytest.mark.parametrize(
    ("there", "wish", "words"),
    [
        (resources(8, 2), {"lanes_per_gpu": 2, "workers": 2}, "NCCL refuses two workers"),
        (resources(8), {"lanes_per_gpu": 2}, "run on CPU cores; leave it out"),
        (resources(8, 2), {"lanes_per_gpu": 2, "lanes": 5}, "needs 3 GPUs and the cluster has 2"),
        (resources(8, 2), {"lanes": 3}, "lower one of them, or raise --lanes-per-gpu"),
    ],
)
def test_an_impossible_sharing_is_refused(there, wish, words):
    with pytest.raises(UserError, match=words):
        make_plan(there, 5, **wish)


class TestFewSteps:
    @pytest.mark.parametrize(("cpus", "lanes"), [(1, 1), (2, 1), (3, 1), (4, 2), (16, 5)])
    def test_start_lanes_on_half_of_the_cores(self, cpus, lanes):
        plan = make_plan(resources(cpus), 5, steps=FEW_STEPS - 1)
        assert plan.lanes == lanes
        assert plan.threads * plan.lanes <= cpus
        assert make_plan(resources(cpus), 5, steps=FEW_STEPS).lanes == min(cpus, 5)

    def test_change_neither_a_wish_nor_gpus(self):
        assert make_plan(resources(2), 5, lanes=2, steps=1).lanes == 2
        assert make_plan(resources(2, 2), 5, steps=1).lanes == 2
