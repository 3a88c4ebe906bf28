import hypothesis.strategies as st
import pytest
from hypothesis import given

from distributed.plan import Resources, make_plan
from folds.errors import UserError


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
def test_fewer_lanes_would_need_more_rounds(cpus, folds):
    plan = make_plan(resources(cpus), folds)
    assert plan.rounds == -(-folds // min(cpus, folds))
    if plan.lanes > 1:
        assert -(-folds // (plan.lanes - 1)) > plan.rounds


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
        ({"workers": 2, "batch_size": 1}, "more workers than the 1 images"),
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
