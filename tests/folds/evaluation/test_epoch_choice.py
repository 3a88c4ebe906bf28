import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from folds.config.selection import SelectBy
from folds.evaluation.epoch_choice import crossfit_epochs
from folds.evaluation.gains import Rivals
from folds.evaluation.gate import beats
from folds.evaluation.predictions import Predictions

tables = st.integers(2, 6).flatmap(
    lambda epochs: st.lists(
        st.lists(st.floats(0, 1), min_size=epochs, max_size=epochs), min_size=2, max_size=6
    )
)


def test_each_fold_gets_what_the_others_like():
    scores = [[0.9, 0.1, 0.2], [0.1, 0.8, 0.3], [0.1, 0.7, 0.4]]
    assert crossfit_epochs(scores).tolist() == [1, 0, 0]


@given(scores=tables, fold=st.integers(0, 5), own=st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_a_folds_own_scores_do_not_choose_its_epoch(scores, fold, own):
    fold %= len(scores)
    other = [row if n != fold else own[: len(row)] for n, row in enumerate(scores)]
    assert crossfit_epochs(scores)[fold] == crossfit_epochs(other)[fold]


def test_only_epochs_that_all_folds_have_can_be_chosen():
    assert crossfit_epochs([[0.1, 0.2, 0.9], [0.1, 0.3], [0.2, 0.4, 0.8]]).tolist() == [1, 1, 1]


def test_a_fold_alone_is_scored_at_its_last_epoch():
    assert crossfit_epochs([[0.9, 0.1]]).tolist() == [1]


def interval(share, count):
    """Wilson's, 95%."""
    z = 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + z * z / (4 * count**2))
    return middle - half, middle + half


def chosen(scores):
    """Epoch of each fold by each way to choose, from scores (folds, epochs)."""
    return {
        "best": scores.argmax(axis=1),
        "last": np.full(len(scores), scores.shape[1] - 1),
        "crossfit": crossfit_epochs(scores.tolist()),
    }


def simulated(trials, *, folds=5, images=200, epochs=12, truth=0.9, correlation=0.8):
    """Bias in points and coverage in % of the three ways to choose, every epoch equally good."""
    rng, limit = np.random.default_rng(0), norm.ppf(truth)
    errors = {"best": [], "last": [], "crossfit": []}
    for _ in range(trials):
        shared, own = rng.normal(size=(folds, images, 1)), rng.normal(size=(folds, images, epochs))
        right = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own < limit
        scores = right.mean(axis=1)
        for way, epoch in chosen(scores).items():
            share = scores[np.arange(folds), epoch].mean()
            low, high = interval(share, folds * images)
            errors[way].append((share - truth, low <= truth <= high))
    return {way: 100 * np.mean(found, axis=0) for way, found in errors.items()}


@pytest.mark.parametrize("trials", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_choosing_on_the_scored_images_flatters_and_the_other_ways_do_not(trials):
    found = simulated(trials)
    assert found["best"][0] > 2
    assert found["best"][1] < 40
    assert abs(found["last"][0]) < 0.2
    assert found["last"][1] > 91
    assert abs(found["crossfit"][0]) < 0.3
    assert found["crossfit"][1] > 86


def passing(trials, *, epochs=(4, 40), folds=5, images=200, truth=0.9, correlation=0.8):
    """Share of candidates that beat an equal champion of fewer epochs, by the way to choose.

    An image is as hard for the one as for the other, and the epochs of both are equally good.
    """
    rng, limit = np.random.default_rng(0), norm.ppf(truth)
    fold = np.repeat(np.arange(folds), images)
    passed = {"best": 0, "last": 0, "crossfit": 0}
    for _ in range(trials):
        shared, labels = rng.normal(size=(folds, images, 1)), rng.integers(0, 2, len(fold))
        rows = {way: [] for way in passed}
        for count in epochs:
            own = rng.normal(size=(folds, images, count))
            right = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own < limit
            for way, epoch in chosen(right.mean(axis=1)).items():
                hit = right[np.arange(folds), :, epoch].ravel()
                sure = np.where(np.eye(2)[labels] == hit[:, None], 0.8, 0.2)
                rows[way].append(
                    Predictions(labels, sure, np.arange(len(fold)), fold, np.zeros_like(fold))
                )
        for way, pair in rows.items():
            passed[way] += beats(Rivals(tuple(pair)), SelectBy.parse("accuracy")).passed
    return {way: count / trials for way, count in passed.items()}


@pytest.mark.parametrize(
    ("trials", "most"), [(20, 0.25), pytest.param(1000, 0.07, marks=pytest.mark.slow)]
)
def test_more_epochs_help_an_equal_candidate_past_the_gate_only_where_they_flatter(trials, most):
    """1,000 trials of at most 6%, and a standard error more; of 20 more than 5 are as rare."""
    found = passing(trials)
    assert found["last"] <= most
    assert found["crossfit"] <= most
    assert found["best"] > 0.15
