import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from folds.splits.grouped import grouped_split

LAW = settings(max_examples=60)
SEEDS = st.integers(0, 2**32 - 1)


def table(labels, part, parts):
    """Class counts (P, C)."""
    counts = np.zeros((parts, labels.max() + 1), int)
    np.add.at(counts, (part, labels), 1)
    return counts


def off(labels, part, shares):
    """Deviations (P, C) from the ideal counts."""
    return np.abs(table(labels, part, len(shares)) - np.outer(shares, np.bincount(labels)))


@st.composite
def labelled(draw):
    counts = draw(st.lists(st.integers(1, 40), min_size=1, max_size=6))
    return np.array(draw(st.permutations(np.repeat(range(len(counts)), counts).tolist())))


@LAW
@given(labelled(), st.floats(0.01, 0.5), SEEDS)
def test_without_groups_two_parts_have_their_share_of_each_class_and_of_all(labels, share, seed):
    shares = np.array([share, 1 - share])
    part = grouped_split(labels, np.arange(len(labels)), shares, seed=seed)
    assert off(labels, part, shares).max() <= 1 + 1e-9
    assert abs((part == 0).sum() - share * len(labels)) <= 0.5 + 1e-9


@LAW
@given(labelled(), st.integers(2, 7), SEEDS)
def test_without_groups_equal_parts_have_their_share_of_each_class(labels, parts, seed):
    shares = np.full(parts, 1 / parts)
    part = grouped_split(labels, np.arange(len(labels)), shares, seed=seed)
    assert off(labels, part, shares).max() <= 1 + 1e-9


@LAW
@given(labelled(), st.integers(1, 9), st.lists(st.floats(0.1, 1), min_size=2, max_size=5), SEEDS)
def test_groups_are_whole_and_the_order_of_rows_does_not_matter(labels, size, shares, seed):
    shares = np.array(shares) / np.sum(shares)
    groups = np.arange(len(labels)) // size
    part = grouped_split(labels, groups, shares, seed=seed)
    assert all(len(set(part[groups == group])) == 1 for group in set(groups))
    assert (grouped_split(labels[::-1], groups[::-1], shares, seed=seed)[::-1] == part).all()


def patients(seed):
    """Slides of patients who have from 1 to 60 of them, mostly of one class."""
    rng = np.random.default_rng(seed)
    sizes = rng.geometric(0.08, 60).clip(max=60)
    groups = np.repeat(np.arange(60), sizes)
    usual = np.repeat(rng.integers(0, 4, 60), sizes)
    return np.where(rng.random(len(groups)) < 0.7, usual, rng.integers(0, 4, len(groups))), groups


def test_is_on_average_more_even_than_scikit_learns():
    shares, worst = np.full(5, 0.2), []
    for seed in range(12):
        labels, groups = patients(seed)
        theirs = np.empty_like(labels)
        splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for number, (_, rows) in enumerate(splitter.split(labels, labels, groups)):
            theirs[rows] = number
        ours = grouped_split(labels, groups, shares, seed=seed)
        worst.append([off(labels, part, shares).max() for part in (ours, theirs)])
    ours, theirs = np.mean(worst, axis=0)
    assert ours < 0.85 * theirs


def test_images_alone_in_their_group_fill_what_others_leave_uneven():
    labels = np.repeat([0, 1], [300, 100])
    groups = np.arange(400)
    groups[:40], groups[40:50], groups[300:330] = 1000, 1001, 1002
    shares = np.full(5, 0.2)
    assert off(labels, grouped_split(labels, groups, shares, seed=0), shares)[:, 0].max() <= 1


def test_great_groups_come_into_a_small_part_too():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(200), rng.integers(1, 30, 200))
    labels = rng.integers(0, 3, 200)[groups]
    sizes = np.bincount(groups)
    in_small = [
        sizes[
            np.unique(groups[grouped_split(labels, groups, np.array([0.1, 0.9]), seed=seed) == 0])
        ]
        for seed in range(20)
    ]
    assert np.median(sizes) * 0.7 <= np.median(np.concatenate(in_small)) <= np.median(sizes) * 1.4


def test_other_seeds_divide_otherwise_even_if_no_two_groups_are_equal():
    groups = np.repeat(np.arange(20), np.arange(3, 23))
    labels = groups % 2
    found = {
        tuple(grouped_split(labels, groups, np.full(3, 1 / 3), seed=seed)) for seed in range(6)
    }
    assert len(found) == 6
