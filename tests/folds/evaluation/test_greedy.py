import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.evaluation.greedy import cross_fit, greedy_weights, weighted_mean
from folds.evaluation.metrics import scores
from tests.folds.evaluation.synthetic import rivals


def log_likelihood(labels, chances):
    return float(np.log(chances[np.arange(len(labels)), labels]).mean())


SCORES = {
    "accuracy": lambda labels, chances: float((chances.argmax(axis=1) == labels).mean()),
    "macro_f1": lambda labels, chances: scores(labels, chances, ["macro_f1"])["macro_f1"],
    "log_loss": log_likelihood,
}
few = settings(max_examples=25)


def library(seed, members=4, rows=30, classes=3):
    """Labels, and members of unlike skill."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    skill = rng.uniform(0, 1.5, (members, 1, 1))
    odds = np.exp(rng.normal(0, 1, (members, rows, classes)) + skill * np.eye(classes)[labels])
    return labels, (odds / odds.sum(axis=2, keepdims=True)).astype(np.float32)


seeds, names = st.integers(0, 10**6), st.sampled_from(sorted(SCORES))


@few
@given(seeds, names, st.integers(1, 12))
def test_is_never_worse_than_the_best_member(seed, name, rounds):
    labels, members = library(seed)
    score = SCORES[name]
    weights = greedy_weights(labels, members, score, rounds)
    best = max(score(labels, member) for member in members)
    assert score(labels, weighted_mean(members, weights)) >= best - 1e-7
    assert 1 <= weights.sum() <= rounds
    assert (weights >= 0).all()
    assert np.gcd.reduce(weights) == 1


@few
@given(seeds, names)
def test_more_rounds_are_never_worse(seed, name):
    labels, members = library(seed)
    score = SCORES[name]
    values = [
        score(labels, weighted_mean(members, greedy_weights(labels, members, score, rounds)))
        for rounds in (1, 2, 4, 8)
    ]
    assert (np.diff(values) >= -1e-7).all()


@few
@given(seeds, st.permutations(range(4)))
def test_does_not_depend_on_the_order_of_members(seed, order):
    labels, members = library(seed)
    weights = greedy_weights(labels, members, SCORES["log_loss"])  # it has no ties
    again = greedy_weights(labels, members[order], SCORES["log_loss"])
    np.testing.assert_array_equal(again, weights[order])


@few
@given(seeds, names)
def test_two_rounds_are_the_best_pair_with_the_best_member(seed, name):
    labels, members = library(seed)
    score = SCORES[name]
    alone = [score(labels, member) for member in members]
    best = int(np.argmax(alone))
    pairs = [score(labels, (members[best] + member) / 2) for member in members]
    found = score(labels, weighted_mean(members, greedy_weights(labels, members, score, 2)))
    assert found == pytest.approx(max(*pairs, alone[best]), abs=1e-6)


def test_of_equal_ensembles_the_smallest_and_the_first_is_taken():
    labels, members = library(0, members=1)
    for score in SCORES.values():
        found = greedy_weights(labels, np.repeat(members, 3, axis=0), score)
        np.testing.assert_array_equal(found, [1, 0, 0])


def test_members_that_complete_each_other_are_both_taken():
    """Each is sure and right on its half, and unsure and wrong on the other."""
    labels = np.zeros(20, np.int64)
    first = np.where(np.arange(20) < 10, 0.95, 0.4)
    chances = np.stack([first, first[::-1]])
    members = np.stack([chances, 1 - chances], axis=2).astype(np.float32)
    weights = greedy_weights(labels, members, SCORES["accuracy"])
    np.testing.assert_array_equal(weights, [1, 1])
    assert SCORES["accuracy"](labels, weighted_mean(members, weights)) == 1


@pytest.mark.parametrize(("members", "rounds"), [(0, 5), (2, 0)])
def test_nothing_to_choose_is_refused(members, rounds):
    labels, several = library(0)
    with pytest.raises(ValueError, match="at least one of each"):
        greedy_weights(labels, several[:members], SCORES["accuracy"], rounds)


class TestCrossFit:
    @few
    @given(seeds, st.sampled_from([1, 6]))
    def test_a_folds_labels_have_no_say_in_its_predictions(self, seed, rounds):
        labels, members = library(seed)
        fold, ids = np.arange(30) % 3, np.arange(30)
        one = cross_fit(labels, members, fold, ids, SCORES["log_loss"], rounds)
        changed = np.where(fold == 1, (labels + 1) % 3, labels)
        other = cross_fit(changed, members, fold, ids, SCORES["log_loss"], rounds)
        np.testing.assert_array_equal(one.weights[1], other.weights[1])
        np.testing.assert_array_equal(one.probabilities[fold == 1], other.probabilities[fold == 1])

    def test_an_image_has_no_say_in_its_other_repeats(self):
        labels, members = library(3)
        labels, members = np.tile(labels, 2), np.concatenate([members, members[::-1]], axis=1)
        ids = np.tile(np.arange(30), 2)
        fold = np.concatenate([np.arange(30) % 3, 3 + np.arange(30) // 10])
        one = cross_fit(labels, members, fold, ids, SCORES["log_loss"])
        changed = np.where(np.isin(ids, ids[fold == 0]), (labels + 1) % 3, labels)
        other = cross_fit(changed, members, fold, ids, SCORES["log_loss"])
        np.testing.assert_array_equal(one.weights[0], other.weights[0])
        assert one.weights.shape == (6, 4)

    def test_rows_are_what_their_folds_weights_give(self):
        labels, members = library(5)
        fold = np.arange(30) % 3
        found = cross_fit(labels, members, fold, np.arange(30), SCORES["macro_f1"])
        for number in range(3):
            mine = fold == number
            own = weighted_mean(members[:, mine], found.weights[number])
            np.testing.assert_array_equal(found.probabilities[mine], own)
            chosen = greedy_weights(labels[~mine], members[:, ~mine], SCORES["macro_f1"])
            np.testing.assert_array_equal(found.weights[number], chosen)

    def test_one_fold_alone_is_refused(self):
        labels, members = library(0)
        with pytest.raises(ValueError, match="one fold alone"):
            cross_fit(labels, members, np.zeros(30, int), np.arange(30), SCORES["accuracy"])

    def test_the_choice_of_the_best_of_equal_members_gains_nothing(self):
        """On the rows that it is chosen on it seems to; cross-fitted it is right on average."""
        flattered, honest = [], []
        for seed in range(60):
            a, b = rivals(60, seed=seed, training=0.0)
            labels, members = a.labels, np.stack([a.probabilities, b.probabilities])
            accuracy = SCORES["accuracy"]
            mean = np.mean([accuracy(labels, member) for member in members])
            chosen = greedy_weights(labels, members, accuracy, 1)
            flattered.append(accuracy(labels, weighted_mean(members, chosen)) - mean)
            fit = cross_fit(labels, members, a.folds, np.arange(60), accuracy, 1)
            honest.append(accuracy(labels, fit.probabilities) - mean)
        assert np.mean(flattered) > 0.01
        assert abs(np.mean(honest)) < 0.01
