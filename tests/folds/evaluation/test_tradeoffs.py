"""Curves over all thresholds are what scikit-learn and counting say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from folds.evaluation.tradeoffs import _POINTS, tradeoffs


def drawn(count, classes, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities


@given(count=st.integers(5, 400), classes=st.integers(2, 5), seed=st.integers(0, 99))
def test_curves_go_from_corner_to_corner_and_never_back(count, classes, seed):
    labels, probabilities = drawn(count, classes, seed)
    for label, found in enumerate(tradeoffs(labels, probabilities)):
        if found is None:
            assert (labels == label).all() or not (labels == label).any()
            continue
        assert (found.false_positives[0], found.true_positives[0]) == (0, 0)
        assert (found.false_positives[-1], found.true_positives[-1]) == (1, 1)
        assert (np.diff(found.false_positives) >= 0).all()
        assert (np.diff(found.true_positives) >= 0).all()
        assert (found.recall[0], found.recall[-1], found.precision[-1]) == (1, 0, 1)
        assert (np.diff(found.recall) <= 0).all()
        assert 0 <= found.roc_auc <= 1
        assert 0 < found.average_precision <= 1


def test_the_area_is_the_share_of_pairs_in_order():
    labels, probabilities = drawn(300, 3, 0)
    (found, *_) = tradeoffs(labels, probabilities)
    own, others = (probabilities[labels == 0, 0], probabilities[labels != 0, 0])
    assert found.roc_auc == pytest.approx((own[:, None] > others).mean())


def test_many_points_are_thinned_and_the_areas_stay():
    labels, probabilities = drawn(5000, 2, 1)
    (found, _) = tradeoffs(labels, probabilities)
    assert len(found.recall) == _POINTS
    area = np.trapezoid(found.true_positives, found.false_positives)
    assert area == pytest.approx(found.roc_auc, abs=0.01)


def test_a_class_without_images_has_none():
    labels, probabilities = drawn(50, 3, 2)
    assert tradeoffs(np.minimum(labels, 1), probabilities)[2] is None
    assert tradeoffs(np.zeros(50, int), probabilities)[0] is None
