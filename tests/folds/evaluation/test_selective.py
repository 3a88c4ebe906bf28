import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from folds.evaluation.selective import (
    Point,
    area_under_risk_coverage,
    risk_coverage,
    sure_enough,
)


def answers(count, rng):
    """Confidences, and whether each answer is right, as often as they say."""
    confidence = rng.uniform(0.5, 1, count)
    return rng.random(count) < confidence, confidence


@given(st.integers(0, 10**6), st.integers(1, 200))
def test_points_are_of_the_surest_images_and_bounds_below_them(seed, count):
    rng = np.random.default_rng(seed)
    right, confidence = answers(count, rng)
    points = risk_coverage(right, confidence, np.arange(count))
    assert points[-1].answered == 1
    assert points[-1].accuracy == pytest.approx(right.mean())
    for point in points:
        kept = confidence >= point.threshold
        assert point.answered == pytest.approx(kept.mean())
        assert point.accuracy == pytest.approx(right[kept].mean())
        assert 0 <= point.low <= point.accuracy


def test_without_groups_bounds_are_clopper_and_pearsons():
    right, confidence = answers(200, np.random.default_rng(0))
    points = risk_coverage(right, confidence, np.arange(200))
    for point in points:
        count = round(200 * point.answered)
        test = binomtest(round(point.accuracy * count), count, alternative="greater")
        expected = test.proportion_ci(1 - 0.05 / len(points), "exact").low
        assert point.low == pytest.approx(expected)


def test_all_bounds_hold_at_once_in_95_of_100():
    """The true accuracy above a threshold t is (1 + t) / 2, confidences being uniform."""
    missed = 0
    for seed in range(300):
        right, confidence = answers(300, np.random.default_rng(seed))
        points = risk_coverage(right, confidence, np.arange(300))
        missed += any((1 + point.threshold) / 2 < point.low for point in points)
    assert missed / 300 < 0.05


def test_copies_of_an_image_tell_nothing_new():
    right, confidence = answers(100, np.random.default_rng(0))
    once = risk_coverage(right, confidence, np.arange(100))
    copied = risk_coverage(np.tile(right, 5), np.tile(confidence, 5), np.tile(np.arange(100), 5))
    for one, other in zip(once, copied, strict=True):
        assert other.low == pytest.approx(one.low, abs=0.01)


def test_where_all_are_right_a_group_tells_as_much_as_one_image():
    right, confidence = np.ones(60, bool), np.ones(60)
    (point,) = risk_coverage(right, confidence, np.repeat(np.arange(6), 10))
    assert point.low == pytest.approx(0.05 ** (1 / 6))


def test_most_are_answered_that_can_be():
    points = (Point(0.9, 0.3, 1.0, 0.97), Point(0.8, 0.6, 0.99, 0.96), Point(0, 1, 0.9, 0.8))
    assert sure_enough(points, 0.95) == points[1]
    assert sure_enough(points, 0.98) is None


@given(st.integers(0, 10**6), st.integers(1, 80))
def test_the_area_is_the_mean_risk_of_the_surest(seed, count):
    right, confidence = answers(count, np.random.default_rng(seed))
    order = np.argsort(-confidence)
    risks = [1 - right[order[:n]].mean() for n in range(1, count + 1)]
    assert area_under_risk_coverage(right, confidence) == pytest.approx(np.mean(risks))


def test_the_area_does_not_depend_on_the_order_of_equals():
    right = np.array([True, False, True, False])
    area = area_under_risk_coverage(right, np.ones(4))
    assert area == area_under_risk_coverage(right[::-1], np.ones(4)) == pytest.approx(0.5)
