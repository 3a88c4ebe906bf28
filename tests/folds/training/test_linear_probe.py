import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from folds.training.linear_probe import STRENGTHS, linear_probe


def blobs(count=120, features=12, classes=3, folds=4, *, apart=0.8, seed=0):
    """Features whose mean tells the class, of very different scales; labels; folds."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % classes)
    centres = apart * rng.normal(size=(classes, features))
    scale, shift = np.exp(rng.normal(size=features)), 10 * rng.normal(size=features)
    values = (centres[labels] + rng.normal(size=(count, features))) * scale + shift
    return values.astype(np.float32), labels, rng.permutation(np.arange(count) % folds)


def by_sklearn(features, labels, train, test, strength):
    """The same objective: C is 1 / (penalty of the mean loss x images)."""
    inputs = features - features[train].mean(axis=0, dtype=np.float64)
    spread = inputs[train].std(axis=0)
    inputs /= np.maximum(spread, 0.3 * np.sqrt((spread**2).mean()))
    model = LogisticRegression(C=1 / (strength * train.sum()), tol=1e-10, max_iter=10_000)
    return model.fit(inputs[train], labels[train]).predict_proba(inputs[test])


@pytest.mark.parametrize("strength", STRENGTHS)
def test_probabilities_are_scikit_learns(strength):
    features, labels, fold = blobs()
    found = linear_probe(features, labels, fold, 3, strengths=[strength])
    assert found.strengths == (strength,) * 4
    for number in range(4):
        test = fold == number
        expected = by_sklearn(features, labels, ~test, test, strength)
        allowed = 1e-3 + 5e-6 / strength  # the weaker the penalty, the flatter about the optimum
        np.testing.assert_allclose(found.probabilities[test], expected, atol=allowed)


def test_more_features_than_images_and_a_constant_one():
    features, labels, fold = blobs(60, 200)
    features[:, 3] = 7.0
    found = linear_probe(features, labels, fold, 3, strengths=[0.1])
    test = fold == 0
    expected = by_sklearn(features, labels, ~test, test, 0.1)
    np.testing.assert_allclose(found.probabilities[test], expected, atol=3e-3)


def test_strength_is_that_of_the_least_inner_log_loss():
    features, labels, fold = blobs(90, 30, apart=0.4, seed=2)
    strengths = [3.0, 0.3, 0.01, 0.001]
    found = linear_probe(features, labels, fold, 3, strengths=strengths)
    for outer in range(4):
        losses = []
        for strength in strengths:
            parts = []
            for inner in set(range(4)) - {outer}:
                test = fold == inner
                train = ~test & (fold != outer)
                own = by_sklearn(features, labels, train, test, strength)
                parts.append(log_loss(labels[test], own, labels=range(3), normalize=False))
            losses.append(sum(parts))
        assert found.strengths[outer] == strengths[int(np.argmin(losses))]


def test_rows_sum_to_one_and_a_second_time_gives_the_same_bits():
    one, two = (linear_probe(*blobs(), 3) for _ in range(2))
    np.testing.assert_allclose(one.probabilities.sum(axis=1), 1, atol=1e-6)
    assert np.array_equal(one.probabilities, two.probabilities)
    assert one.strengths == two.strengths
    assert one.probabilities.dtype == np.float32


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), number=st.integers(0, 3))
def test_labels_of_a_fold_do_not_reach_its_predictions(seed, number):
    features, labels, fold = blobs(48, 6, seed=seed)
    poisoned = np.where(fold == number, (labels + 1) % 3, labels)
    strengths = [1.0, 0.01]
    clean, other = (
        linear_probe(features, each, fold, 3, strengths=strengths) for each in (labels, poisoned)
    )
    own = fold == number
    assert np.array_equal(clean.probabilities[own], other.probabilities[own])
    assert clean.strengths[number] == other.strengths[number]
    assert not np.array_equal(clean.probabilities[~own], other.probabilities[~own])


def test_labels_without_meaning_give_chance():
    features, labels, fold = blobs(400, 40, classes=4, folds=5)
    shuffled = np.random.default_rng(1).permutation(labels)
    right = linear_probe(features, labels, fold, 4).probabilities.argmax(axis=1) == labels
    found = linear_probe(features, shuffled, fold, 4)
    wrong = found.probabilities.argmax(axis=1) == shuffled
    assert right.mean() > 0.9
    assert abs(wrong.mean() - 0.25) < 0.07
    assert min(found.strengths) >= 0.05  # nothing to learn: strong


def test_a_class_that_some_parts_lack_does_no_harm():
    features, labels, fold = blobs()
    labels[fold != 1] %= 2  # the third class is in one fold alone
    found = linear_probe(features, labels, fold, 4)  # and the fourth in none
    assert np.isfinite(found.probabilities).all()
    assert found.probabilities[:, 3].max() < 0.1


def test_two_folds_are_too_few_to_choose_by():
    features, labels, fold = blobs(folds=2)
    with pytest.raises(ValueError, match="2 folds: a probe needs 3 or more"):
        linear_probe(features, labels, fold, 3)


def test_a_feature_that_one_image_has_does_not_decide():
    features, labels, fold = blobs(300, 30, folds=5)
    rare = np.zeros((300, 40), np.float32)
    rare[np.arange(40) * 7, np.arange(40)] = 3.0  # of one image each
    rare[np.arange(40) * 7 + 1, np.arange(40)] = 0.01
    plain, beside = (
        log_loss(labels, linear_probe(each, labels, fold, 3).probabilities)
        for each in (features, np.concatenate([features, rare], axis=1))
    )
    assert beside < 1.5 * plain + 0.05


def test_scale_and_shift_of_all_features_change_nothing():
    features, labels, fold = blobs(90, 20)
    one = linear_probe(features, labels, fold, 3)
    other = linear_probe(1e-3 * features + 5, labels, fold, 3)
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=2e-3)
