"""Which trials come next: the same however a search was interrupted, and only when they may."""

import pytest
import yaml

from distributed.search.proposals import Proposals, Proposer
from distributed.search.race import Rules
from distributed.search.trials import Trials
from folds.config import Config
from folds.config.space_parser import parse_space
from folds.errors import UserError
from tests.distributed.search.conftest import MACRO_F1

RULES = Rules(2, racing=True)
TEXT = """
optimizer: {choice: [adamw, sgd]}
weight_decay: {loguniform: [1e-4, 1e-1]}
head_layers: {choice: [[], [64], [128]]}
batch_size: {int: [8, 64]}
clip_grad: {uniform: [0, 2], when: {optimizer: sgd}}
"""
COUNTABLE = """
optimizer: {choice: [adamw, sgd]}
batch_size: {int: [8, 10]}
ema: {choice: [0, 0.9], when: {optimizer: sgd}}
"""


def space(text=TEXT):
    return parse_space(yaml.safe_load(text), Config())


def score(values, place):
    return 1.0 - values["weight_decay"] - 0.1 * (values["optimizer"] == "sgd") + 0.001 * place


def searched(folder, run_through, sampler="tpe", count=12, stop=None, space=space, score=score):
    trials = Trials(folder, 3, MACRO_F1)
    proposer = Proposer(space(), sampler, count, 7)
    proposals = Proposals(proposer, trials, RULES, lambda trial: trial.number)
    run_through(trials, proposals, RULES, score, stop)
    return trials


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_a_search_that_goes_on_proposes_and_finds_the_same(tmp_path, run_through, sampler):
    whole = searched(tmp_path / "whole", run_through, sampler)
    for stop in ((1, 0), (5, 1), (12, 2)):
        folder = tmp_path / f"cut-{stop[0]}"
        searched(folder, run_through, sampler, stop=stop)
        again = searched(folder, run_through, sampler)
        assert [vars(trial) for trial in again] == [vars(trial) for trial in whole]
    assert whole.best.number == max(whole.complete(), key=lambda t: t.mean).number


def test_values_lie_in_the_space_and_conditional_ones_only_where_they_are_used(
    tmp_path, run_through
):
    for trial in searched(tmp_path, run_through, count=20):
        values = trial.values
        assert ("clip_grad" in values) == (values["optimizer"] == "sgd")
        assert 1e-4 <= values["weight_decay"] <= 1e-1
        assert values["head_layers"] in ([], [64], [128])
        assert values["batch_size"] in range(8, 65)


def test_what_scored_well_is_proposed_more_often(tmp_path, run_through):
    trials = searched(tmp_path, run_through, count=40)
    early = [trial.values["weight_decay"] for trial in trials if trial.number <= 10]
    late = [trial.values["weight_decay"] for trial in trials if trial.number > 30]
    assert sorted(late)[5] < sorted(early)[5]


def test_a_trial_waits_for_those_before_it(tmp_path):
    trials = Trials(tmp_path, 1, MACRO_F1)
    proposals = Proposals(Proposer(space(), "tpe", 9, 0), trials, RULES, lambda trial: trial.number)
    assert [proposals.suggest("") for _ in range(3)] == [
        {"assignment": 1}, {"assignment": 2}, None,
    ]  # fmt: skip
    trials.end(2, "failed", why="nan")
    assert proposals.suggest("") is None
    trials.end(1, "complete", estimate=0.5)
    assert proposals.suggest("") == {"assignment": 3}
    assert proposals.suggest("") == {"assignment": 4}  # trial 2 has ended as well
    assert proposals.suggest("") is None


def test_a_trial_that_cannot_begin_is_passed_over(tmp_path):
    trials = Trials(tmp_path, 1, MACRO_F1)

    def assign(trial):
        if trial.number == 2:
            trials.end(2, "failed", why="does not fit")
            return None
        return trial.number

    proposals = Proposals(Proposer(space(), "random", 3, 0), trials, Rules(3, True), assign)
    assert [proposals.suggest("") for _ in range(3)] == [
        {"assignment": 1}, {"assignment": 3}, "FINISHED",
    ]  # fmt: skip


def test_a_grid_is_tried_once_each_and_no_further(tmp_path, run_through):
    trials = searched(
        tmp_path, run_through, "grid", 100, space=lambda: space(COUNTABLE),
        score=lambda values, place: 0.5 + place / 100,
    )  # fmt: skip
    assert len(trials) == 3 + 6
    assert len({str(trial.values) for trial in trials}) == 9


def test_a_grid_of_ranges_is_refused():
    with pytest.raises(UserError, match="no end of values"):
        Proposer(space(), "grid", 10, 0)
