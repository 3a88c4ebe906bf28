from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.splits.subset import nested_subset

LAW = settings(max_examples=60)
SHARES = st.lists(st.floats(0.01, 1), min_size=2, max_size=4).map(sorted)


@st.composite
def labelled(draw):
    counts = draw(st.lists(st.integers(1, 40), min_size=1, max_size=5))
    return np.array(draw(st.permutations(np.repeat(range(len(counts)), counts).tolist())))


def names(numbers):
    return np.array([f"unit{number:03d}" for number in numbers])


@LAW
@given(labelled(), st.integers(1, 9), SHARES, st.integers(0, 2**32 - 1))
def test_units_are_whole_and_a_larger_share_holds_a_smaller_one(labels, size, shares, seed):
    units = names(np.arange(len(labels)) // size)
    parts = [nested_subset(labels, units, share, key=(seed, 0, 1)) for share in shares]
    for part in parts:
        inside = set(units[part])
        assert not inside & set(np.delete(units, part))
    for smaller, larger in pairwise(parts):
        assert set(smaller) <= set(larger)
    everything = nested_subset(labels, units, 1.0, key=(seed, 0, 1))
    np.testing.assert_array_equal(everything, np.arange(len(labels)))


@LAW
@given(labelled(), st.floats(0.01, 1), st.integers(0, 2**32 - 1))
def test_each_class_gives_its_share_rounded_up_or_down(labels, share, seed):
    part = nested_subset(labels, names(range(len(labels))), share, key=(seed, 0, 0))
    ideal = share * np.bincount(labels)
    assert np.abs(np.bincount(labels[part], minlength=len(ideal)) - ideal).max() <= 1 + 1e-9


def test_all_classes_together_give_their_share_and_a_small_one_is_not_lost():
    labels = np.repeat(range(8), [4, *[50] * 7])
    part = nested_subset(labels, names(range(len(labels))), 0.05, key=(0, 0, 0))
    assert np.bincount(labels[part], minlength=8)[0] == 1
    assert abs(len(part) - 0.05 * len(labels)) <= 1


def test_units_that_have_all_classes_give_their_share():
    labels = np.random.default_rng(0).permutation(np.repeat(range(4), 100))
    for share in (0.25, 0.5, 0.75):
        part = nested_subset(labels, names(np.arange(400) % 8), share, key=(0, 0, 0))
        assert abs(len(part) - 400 * share) <= 50


@LAW
@given(labelled(), st.integers(1, 9), st.floats(0.01, 1), st.randoms(use_true_random=False))
def test_the_order_of_images_changes_nothing(labels, size, share, random):
    units = names(np.arange(len(labels)) // size)
    order = np.array(random.sample(range(len(labels)), len(labels)))
    one = nested_subset(labels, units, share, key=(0, 0, 0))
    other = order[nested_subset(labels[order], units[order], share, key=(0, 0, 0))]
    assert sorted(other) == one.tolist()


def test_a_class_gives_its_share_of_groups_of_several_classes():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 200, 2000)
    labels = np.where(rng.random(2000) < 0.8, groups % 3, rng.integers(0, 3, 2000))
    part = nested_subset(labels, names(groups), 0.25, key=(0, 0, 0))
    counts = np.bincount(labels[part]) / np.bincount(labels)
    assert counts == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("key", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_another_seed_repeat_or_fold_takes_others(key):
    labels = np.zeros(50, int)
    one, other = (nested_subset(labels, names(range(50)), 0.5, key=k) for k in ((0, 0, 0), key))
    assert set(one) != set(other)
