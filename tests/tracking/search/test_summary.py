from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.tracking.search.made_up import race, search, trial
from tracking.search.summary import SearchSummary, schema

DOCS = Path(__file__).parents[3] / "docs" / "search.schema.json"


def test_the_documented_schema_is_the_real_one():
    assert DOCS.read_text() == schema(), "run `make schema`"


@pytest.mark.parametrize("trials", [None, []])
def test_what_was_written_is_read_again(trials):
    summary = search(trials)
    assert SearchSummary.model_validate_json(summary.model_dump_json()) == summary


def test_what_the_schema_does_not_name_is_refused():
    with pytest.raises(ValidationError, match="Extra inputs"):
        search(surprise=1)


def test_complete_trials_are_sorted_the_winner_first():
    trials = [
        trial(1, {}, [0.8], "complete"),
        trial(2, {}, [0.9], "complete", tied=True),
        trial(3, {}, [0.95], "stopped"),
        trial(4, {}, [0.85], "complete", tied=True),
    ]
    summary = search(trials, winner=4)
    assert [one.number for one in summary.complete] == [4, 2, 1]
    assert summary.best_trial is trials[3]
    assert [one.number for one in summary.tied] == [2]


def test_the_running_mean_ends_before_a_score_that_is_not_defined():
    assert trial(1, {}, [0.5, 0.7, None, 0.9], "failed").running == pytest.approx([0.5, 0.6])
    assert trial(1, {}, [], "failed").running == []


def test_what_is_made_up_has_all_kinds_of_trials():
    trials = race(20)
    assert {one.state for one in trials} == {"complete", "stopped", "failed"}
    assert any(one.audited for one in trials)
    assert 0 < sum("ema" in one.values for one in trials) < 20
