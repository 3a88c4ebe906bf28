from dataclasses import replace

import numpy as np
import pytest

from folds.config.selection import SelectBy
from folds.evaluation.gains import Rivals, gain
from folds.evaluation.slice_differences import (
    judged,
    slice_changes,
    worst_difference,
    worst_fold_differences,
)
from folds.evaluation.slices import worst_scores
from tests.folds.evaluation.synthetic import rivals


@pytest.fixture(scope="module")
def pair():
    """A model and a better one, with folds."""
    return rivals(600, seed=0, training=0.1, gain=1.0)


def thirds(count):
    return np.array([("a", "b", "c")[row % 3] for row in range(count)])


def lowest(predictions, values):
    answers = predictions.probabilities.argmax(axis=1)
    return worst_scores({"site": values}, predictions.labels, answers)


@pytest.mark.parametrize("score", ["accuracy", "macro_f1"])
def test_before_and_after_are_the_lowest_scores_of_each(pair, score):
    values = thirds(600)
    found = worst_difference(*pair, values, score, replicates=100)
    before, after = (lowest(one, values)[f"worst_site.{score}"] for one in pair)
    assert (found.before, found.after) == (pytest.approx(before), pytest.approx(after))
    assert found.difference.value == pytest.approx(after - before)
    assert found.difference.lower < found.difference.value < found.difference.upper


def test_of_one_value_it_is_the_difference_of_all(pair):
    one = gain(Rivals(pair, columns={"site": np.full(600, "a")}), by("worst_site.macro_f1"), 0.95)
    all_ = gain(Rivals(pair), by("macro_f1"), 0.95)
    for name in ("before", "after", "value", "lower", "folds"):
        assert getattr(one, name) == pytest.approx(getattr(all_, name)), name


def by(text):
    return SelectBy.parse(text)


def test_a_value_of_few_images_does_not_count(pair):
    values = np.where(np.arange(600) < 19, "few", "many")
    assert list(judged(pair[0], values)) == ["many"]
    assert [one.value for one in slice_changes(*pair, {"site": values})] == ["many"]
    assert worst_difference(*pair, np.where(values == "few", values, ""), "accuracy") is None


def test_an_image_of_several_repeats_counts_once(pair):
    one = pair[0].take(np.arange(38))
    repeated = replace(one, repeat=np.repeat([0, 1], 19))
    assert not judged(repeated, np.full(38, "a"))


def test_changes_are_of_accuracies(pair):
    values = thirds(600)
    for one in slice_changes(*pair, {"site": values}):
        rows = values == one.value
        for predictions, value in zip(pair, (one.before, one.after), strict=True):
            right = predictions.probabilities[rows].argmax(axis=1) == predictions.labels[rows]
            assert value == pytest.approx(right.mean())


def test_folds_without_a_judged_value_are_left_out(pair):
    values = np.where(pair[0].fold == 0, "", thirds(600))
    found = worst_fold_differences(*pair, "site", values, "worst_site.accuracy")
    assert len(found) == len(np.unique(pair[0].folds)) - 1


def test_a_column_that_is_not_known_is_not_measured(pair):
    with pytest.raises(ValueError, match="scanner is not known of the same images in both"):
        gain(Rivals(pair), by("slices.scanner.worst"), 0.95)
