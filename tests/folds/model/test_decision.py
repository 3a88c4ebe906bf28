import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from folds.model.decision import FILE, Decision, decision_of, joined

NAMES = ("a", "b", "c")


def made(costs=None, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 90)
    probabilities = (np.eye(3)[labels] + rng.dirichlet(np.ones(3), 90)) / 2
    return decision_of(
        NAMES, labels, probabilities.astype(np.float32), np.arange(90), coverage=0.8, costs=costs,
        evidence="holdout",
    )  # fmt: skip


@pytest.mark.parametrize("costs", [None, 1 - np.eye(3)])
def test_what_is_written_is_read(tmp_path, costs):
    decision = made(costs)
    decision.write(tmp_path)
    assert Decision.read(tmp_path, NAMES) == decision


def test_a_bundle_without_one_has_none(tmp_path):
    assert Decision.read(tmp_path, NAMES) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "is not of format"),
        ({"class_names": ["a", "b", "d"]}, "of other classes"),
        ({"thresholds": [0.5]}, "not of 3 classes"),
        ({"thresholds": [0.5, 2, 0]}, "not from 0 to 1"),
        ({"thresholds": [0.5, "nan", 0]}, "not from 0 to 1"),
        ({"costs": [[0, 1, 1], [1, 0]]}, "not of 3 classes"),
        ({"costs": [[-1, 1, 1]] * 3}, "a cost is below 0"),
        ({"coverage": "high"}, "coverage"),
        ({"more": 1}, "more"),
    ],
)
def test_a_damaged_one_is_refused_in_one_line(tmp_path, change, words):
    made().write(tmp_path)
    content = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(content | change))
    with pytest.raises(ValueError, match=words) as refused:
        Decision.read(tmp_path, NAMES)
    assert "\n" not in str(refused.value)


def test_the_curve_is_of_what_is_answered():
    """A class that costs nothing to be taken for another is never wrong to be answered."""
    plain, costly = made(), made(np.array([[0, 1, 1], [1, 0, 1], [0, 0, 0]]))
    assert plain.curve[-1].accuracy != costly.curve[-1].accuracy
    assert replace(plain, curve=(), costs=None) == replace(costly, curve=(), costs=None)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1)))
def test_joined_names_can_be_read_again(names):
    text = joined(names)
    assert (next(csv.reader([text], delimiter=";")) if text else []) == names
