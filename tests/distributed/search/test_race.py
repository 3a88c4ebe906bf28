"""Who is stopped, by what, and that nothing of it depends on what a trial may not know."""

import numpy as np
import pytest

from distributed.search.race import Rules, behind, rungs, settle
from distributed.search.trials import Trials
from tests.distributed.search.conftest import MACRO_F1, outcome

FOLDS = 4


@pytest.fixture
def trials(tmp_path):
    """Four complete trials around 0.9."""
    made = Trials(tmp_path, FOLDS, MACRO_F1)
    noise = np.random.default_rng(0).normal(0.9, 0.004, (4, FOLDS))
    for number in range(1, 5):
        made.begin(number, {})
        for place in range(FOLDS):
            made.add(number, place, outcome(noise[number - 1, place], place), 1.0)
        settle(made, number, Rules(1, racing=True))
    return made


def scored(trials, number, *scores):
    trials.begin(number, {})
    for place, score in enumerate(scores):
        trials.add(number, place, outcome(score, place), 1.0)


def test_with_all_folds_it_is_complete_and_worth_their_mean(trials):
    assert all(trial.state == "complete" for trial in trials)
    assert trials[2].estimate == trials[2].mean


def test_who_is_far_behind_stops_after_a_fold_and_it_is_said_why(trials):
    scored(trials, 5, 0.5)
    settle(trials, 5, Rules(1, racing=True))
    assert trials[5].state == "stopped"
    assert trials[5].why.startswith(f"behind trial {trials.best.number} by 0.")
    assert "on 1 of 4 folds" in trials[5].why
    assert trials[5].estimate == pytest.approx(0.5, abs=0.02)


def test_who_is_near_goes_on(trials):
    scored(trials, 5, 0.899, 0.9)
    settle(trials, 5, Rules(1, racing=True))
    assert trials[5].state == "unfinished"


def test_without_racing_nobody_stops(trials):
    scored(trials, 5, 0.1, 0.1, 0.1)
    settle(trials, 5, Rules(1, racing=False))
    assert trials[5].state == "unfinished"


def test_who_was_stopped_and_is_finished_anyway_is_not_stopped_again(trials):
    scored(trials, 5, 0.5)
    settle(trials, 5, Rules(1, racing=True))
    trials.reopen(5)
    settle(trials, 5, Rules(1, racing=True))
    assert trials[5].state == "unfinished"


@pytest.mark.parametrize(("ahead", "state"), [(1, "stopped"), (3, "stopped"), (4, "unfinished")])
def test_only_trials_so_many_numbers_before_count(trials, ahead, state):
    """With 4 ahead trial 5 knows trial 1 alone, which says nothing about noise."""
    scored(trials, 5, 0.5)
    settle(trials, 5, Rules(ahead, racing=True))
    assert trials[5].state == state


def test_rungs_are_the_epochs_of_powers_and_the_scores_that_others_had(tmp_path):
    made = Trials(tmp_path, 1, MACRO_F1)
    for number, epochs in ((1, [0.1, 0.2, 0.3, 0.4]), (2, [0.5] * 10), (3, [0.6] * 2)):
        made.begin(number, {})
        made.add(number, 0, outcome(0.5, epochs=epochs), 1.0)
        settle(made, number, Rules(1, racing=True))
    known = rungs(made, 4, Rules(1, racing=True))
    assert known == {0: [0.1, 0.5, 0.6], 2: [0.3, 0.5], 8: [0.5]}
    assert behind(0, 0.05, known)
    assert not behind(0, 0.7, known)
    assert not behind(1, 0.0, known)  # no rung
    assert not behind(2, 0.0, known)  # too few others
    assert behind(0, float("nan"), known)
