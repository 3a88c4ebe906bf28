import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from folds.evaluation.label_shift import shifted


def answers(shares, count, seed, noise=1.0):
    """Labels by some shares, and what a calibrated classifier of equal classes says of them."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(shares), count, p=shares)
    logits = rng.normal(0, noise, (count, len(shares)))
    logits[np.arange(count), labels] += 1.5
    odds = np.exp(logits * 1.5 / noise**2)  # of gaussian classes: the exact posterior
    return labels, (odds / odds.sum(1, keepdims=True)).astype(np.float32)


def test_absent_classes_are_found_to_be_absent():
    labels, before = answers([0.6, 0.4, 0, 0], 2000, 0)
    after = shifted(before, np.full(4, 0.25))
    assert (after.argmax(1) == labels).mean() > (before.argmax(1) == labels).mean() + 0.1
    assert after.mean(0)[2:].sum() < 0.1


def test_the_usual_shares_change_little():
    labels, before = answers([0.25] * 4, 2000, 1)
    after = shifted(before, np.full(4, 0.25))
    assert (after.argmax(1) != before.argmax(1)).mean() < 0.03
    assert abs((after.argmax(1) == labels).mean() - (before.argmax(1) == labels).mean()) < 0.01


def test_a_table_of_the_very_shares_stays():
    given_ = np.array([[0.9, 0.1], [0.1, 0.9]], np.float32)
    np.testing.assert_allclose(shifted(given_, np.array([0.5, 0.5])), given_, atol=1e-6)


def test_of_no_images_there_is_nothing():
    assert shifted(np.zeros((0, 3), np.float32), np.full(3, 1 / 3)).shape == (0, 3)


@given(st.integers(0, 1000), st.integers(1, 40))
def test_rows_sum_to_one_in_any_order(seed, count):
    _, before = answers([0.7, 0.2, 0.1], count, seed)
    shares = np.array([0.2, 0.3, 0.5])
    after = shifted(before, shares)
    np.testing.assert_allclose(after.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(shifted(before[::-1], shares)[::-1], after, atol=1e-5)
