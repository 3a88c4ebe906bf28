import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from folds.config import Config
from folds.config.selection import SelectBy
from folds.errors import UserError
from folds.evaluation.predictions import Predictions
from folds.evaluation.slices import (
    FEWEST,
    MOST,
    check_columns,
    pooled_worst,
    slices_of,
    worst_of,
    worst_scores,
)


def predicted(labels, answers, groups=None, classes=3):
    probabilities = np.eye(classes, dtype=np.float32)[answers] * 0.7 + 0.1
    return Predictions(labels, probabilities, np.arange(len(labels)) if groups is None else groups)


def drawn(count, values, seed=0, wrong=0.3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    answers = np.where(rng.random(count) < wrong, rng.integers(0, 3, count), labels)
    return labels, answers, rng.choice(values, count)


def names(count):
    return np.array([f"i{row}" for row in range(count)])


def test_scores_of_each_value_are_scikit_learns():
    labels, answers, values = drawn(300, ["a", "b", "c", ""])
    found = slices_of(predicted(labels, answers), names(300), values)
    assert [one.value for one in found] == ["a", "b", "c"]
    for one in found:
        own = values == one.value
        there = np.unique(labels[own])
        f1 = f1_score(labels[own], answers[own], labels=there, average="macro")
        assert one.images == own.sum()
        assert one.accuracy.value == pytest.approx(accuracy_score(labels[own], answers[own]))
        assert one.macro_f1.value == pytest.approx(f1)
        assert one.accuracy.low < one.accuracy.value < one.accuracy.high


def test_classes_that_a_slice_has_not_got_count_in_no_macro_f1():
    labels = np.repeat([0, 1], 20)
    (one,) = slices_of(predicted(labels, labels), names(40), np.full(40, "a"))
    assert one.macro_f1.value == 1


def test_groups_are_resampled():
    labels, answers, values = drawn(200, ["a"])
    answers[:100] = labels[:100]
    groups = np.repeat([0, 1, 2, 3, 4, 5, 6, 7], 25)
    alone = slices_of(predicted(labels, answers), names(200), values)[0].accuracy
    together = slices_of(predicted(labels, answers, groups), names(200), values)[0].accuracy
    assert together.high - together.low > 1.3 * (alone.high - alone.low)


def test_few_images_are_shown_and_are_not_the_worst():
    labels = np.zeros(FEWEST * 2 - 1, np.int64)
    answers = np.r_[np.zeros(FEWEST - 1), 1, np.ones(FEWEST - 1)].astype(np.int64)
    values = np.array(["many"] * FEWEST + ["few"] * (FEWEST - 1))
    found = slices_of(predicted(labels, answers), names(len(labels)), values)
    assert {one.value: one.enough for one in found} == {"many": True, "few": False}
    assert worst_of(found).value == "many"
    assert worst_of([one for one in found if one.value == "few"]) is None


def test_repeats_of_an_image_count_once():
    labels, answers, values = np.zeros(38, np.int64), np.zeros(38, np.int64), np.full(38, "a")
    (one,) = slices_of(predicted(labels, answers), np.tile(names(19), 2), values)
    assert (one.images, one.enough) == (19, False)


@given(st.integers(0, 10**6), st.integers(30, 200))
def test_the_worst_of_a_part_is_that_of_all_where_the_part_is_all(seed, count):
    labels, answers, values = drawn(count, ["a", "b"], seed)
    slices = {"site": slices_of(predicted(labels, answers), names(count), values)}
    quick = worst_scores({"site": values}, labels, answers)
    pooled = pooled_worst(slices)
    assert quick.keys() == pooled.keys()
    for name, value in pooled.items():
        assert quick[name] == pytest.approx(value, nan_ok=True)


def test_a_part_needs_its_share_of_the_images():
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    answers = np.array([0, 0, 0, 1, 0, 0, 0])
    values = np.array(["a"] * 4 + ["b"] * 3)
    found = worst_scores({"scanner": values}, labels, answers, 0.2)
    assert found == {"slices.scanner.worst": pytest.approx(2 * 3 / 7)}
    assert worst_scores({"scanner": values}, labels, answers, 0.15)["slices.scanner.worst"] == 0
    assert math.isnan(worst_scores({"scanner": values}, labels, answers)["slices.scanner.worst"])


class TestCheck:
    def test_sites_that_are_not_known_choose_nothing(self):
        with pytest.raises(UserError, match=r"worst_site\.macro_f1: no sites are known"):
            check_columns({}, SelectBy.parse("worst_site.macro_f1"), ())

    def test_nor_does_a_column_of_few_images(self):
        values = np.repeat(["a", "b"], FEWEST - 1)
        with pytest.raises(UserError, match="no value of scanner has 20 images"):
            check_columns({"scanner": values}, SelectBy.parse("slices.scanner.worst"), ["scanner"])

    def test_slices_of_too_many_values_are_refused(self):
        values = np.arange(MOST + 1).astype(np.str_)
        with pytest.raises(UserError, match=r"--slices age: 51 values .*ages into decades"):
            check_columns({"age": values}, SelectBy.parse("macro_f1"), ["age"])
        assert not check_columns({"site": values}, SelectBy.parse("macro_f1"), [])

    def test_values_that_are_not_known_are_told(self):
        values = np.array([""] * 3 + ["a"] * FEWEST)
        told = check_columns({"sex": values}, SelectBy.parse("slices.sex.worst"), ["sex"])
        assert told == [
            "--slices sex: 3 of 23 images have no value; they count in none of its slices"
        ]

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("slices.scanner.worst", "name the column too, --slices scanner"),
            (
                "slices.scanner.best",
                "no score 'slices.scanner.best'; nearest: slices.scanner.worst",
            ),
            ("worst_site.macro", "nearest: worst_site.macro_f1"),
        ],
    )
    def test_what_there_is_not_is_refused_by_the_configuration(self, text, told):
        with pytest.raises(UserError, match=told):
            Config.from_flat({"select_by": text})

    def test_sums_may_hold_them(self):
        text = "0.5*macro_f1+0.5*slices.sex.worst+worst_site.accuracy"
        assert Config.from_flat({"select_by": text, "slices": "sex"})
        assert SelectBy.parse(text).columns == {"sex", "site"}
