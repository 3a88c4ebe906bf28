import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from folds.evaluation.conformal import out_of_fold_sets, set_thresholds


def answers(count, rng, classes=4):
    """Labels and probabilities that are right about as often as they say."""
    probabilities = rng.dirichlet(np.full(classes, 0.4), count)
    labels = np.array([rng.choice(classes, p=row) for row in probabilities])
    return labels, probabilities


def held(labels, sets):
    return sets[np.arange(len(labels)), labels]


@given(st.integers(0, 10**6), st.integers(8, 60), st.sampled_from([0.5, 0.8, 0.9]))
def test_without_groups_it_is_the_usual_quantile_of_each_class(seed, count, coverage):
    """A class is in the set where its p-value, by ranks, is above 1 - coverage."""
    rng = np.random.default_rng(seed)
    labels, known = answers(count, rng, 2)
    _, new = answers(20, rng, 2)
    found = set_thresholds(labels, known, np.arange(count), coverage)
    for label in np.flatnonzero(~found.marginal):
        scores = known[labels == label, label]
        for row, inside in zip(new, found.sets(new)[:, label], strict=True):
            p = (1 + (scores <= row[label]).sum()) / (len(scores) + 1)
            assert inside == (p > 1 - coverage + 1e-12)


def test_thresholds_are_mapies():
    mapie = pytest.importorskip("mapie.classification", reason="MAPIE, the oracle, is not there")

    from sklearn.base import BaseEstimator, ClassifierMixin

    class Given(ClassifierMixin, BaseEstimator):
        """What it is given are the probabilities."""

        def fit(self, inputs, labels):
            self.classes_ = np.arange(3)
            self.fitted_ = True
            return self

        def predict_proba(self, inputs):
            return inputs

        def predict(self, inputs):
            return inputs.argmax(axis=1)

    rng = np.random.default_rng(3)
    labels, known = answers(400, rng, 3)
    _, new = answers(300, rng, 3)
    model = Given().fit(known, labels)
    found = set_thresholds(labels, known, np.arange(400), 0.9).sets(new)
    for label in range(3):  # MAPIE has no classes of their own: it is asked for one after another
        own = labels == label
        theirs = mapie.SplitConformalClassifier(
            model, confidence_level=0.9, conformity_score="lac", prefit=True
        )
        with pytest.warns(UserWarning, match="less labels"):
            theirs.conformalize(known[own], labels[own])
        _, sets = theirs.predict_set(new)
        np.testing.assert_array_equal(found[:, label], sets[:, label, 0])


def test_every_class_is_held_as_often_as_was_asked_for():
    """By simulation: the mean over draws is within 1/(n + 1) and noise of what was asked for."""
    each = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        labels, known = answers(400, rng)
        later, new = answers(400, rng)
        inside = held(later, set_thresholds(labels, known, np.arange(400), 0.9).sets(new))
        each.append([inside[later == label].mean() for label in range(4)])
    assert np.abs(np.mean(each, axis=0) - 0.905).max() < 0.01


def test_a_rare_class_has_the_threshold_of_all():
    labels = np.repeat([0, 1], [50, 5])
    known = np.random.default_rng(0).dirichlet([1, 1], 55)
    found = set_thresholds(labels, known, np.arange(55), 0.9)
    assert found.marginal.tolist() == [False, True]
    everyone = set_thresholds(
        np.zeros(55, int), known[np.arange(55), labels][:, None], np.arange(55), 0.9
    )
    assert found.probabilities[1] == everyone.probabilities[0]


def test_where_all_images_are_too_few_every_class_is_in_every_set():
    found = set_thresholds(np.array([0, 1]), np.eye(2), np.arange(2), 0.9)
    assert found.sets(np.array([[1.0, 0.0]])).all()


def test_a_new_group_is_held_though_groups_are_alike_inside():
    """With images taken for independent, few groups are told for many images and fall short."""
    asked, plain = [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        hard = np.repeat(rng.random(24), 20)  # each group has its own difficulty
        right = 1 / (1 + np.exp(-(rng.normal(0, 0.3, 480) + 4 * (1 - hard) - 1)))
        known, labels = np.stack([right, 1 - right], axis=1), np.zeros(480, int)
        groups, first = np.repeat(np.arange(24), 20), slice(0, 300)
        for names, found in ((groups, asked), (np.arange(480), plain)):
            chosen = set_thresholds(labels[first], known[first], names[first], 0.9)
            found.append(chosen.sets(known[300:])[:, 0].mean())
    assert np.mean(plain) < 0.89
    assert 0.9 <= np.mean(asked) < 0.96


def test_no_fold_chooses_its_own_thresholds():
    rng = np.random.default_rng(1)
    labels, known = answers(200, rng)
    fold = np.arange(200) % 4
    before = out_of_fold_sets(labels, known, np.arange(200), fold, 0.9)
    known[fold == 2] = rng.dirichlet(np.ones(4), (fold == 2).sum())
    after = out_of_fold_sets(labels, known, np.arange(200), fold, 0.9)
    others = set_thresholds(labels[fold != 2], known[fold != 2], np.arange(150), 0.9)
    np.testing.assert_array_equal(after[fold == 2], others.sets(known[fold == 2]))
    assert (before[fold != 2] != after[fold != 2]).any()
