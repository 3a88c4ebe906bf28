import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss

from folds.evaluation.calibration import (
    brier,
    expected_calibration_error,
    fit_temperature,
    out_of_fold_temperature,
    reliability,
    served,
    tempered,
)
from folds.model.ensemble import tempered as network_tempered
from tests.folds.evaluation.synthetic import synthetic

PREDICTIONS = synthetic(600, seed=0)
LABELS, PROBABILITIES = PREDICTIONS.labels, PREDICTIONS.probabilities
IDS = np.arange(600).astype(str)


class TestScores:
    def test_brier_is_from_0_to_2(self):
        certain = np.eye(3)[[0, 1, 1, 2]]
        assert brier(np.array([0, 1, 1, 2]), certain) == 0
        assert brier(np.array([1, 0, 2, 0]), certain) == 2
        assert brier(np.array([0]), np.float32([[0.5, 0.3, 0.2]])) == pytest.approx(0.38)

    @given(st.integers(0, 10**6), st.integers(2, 12), st.integers(1, 60))
    def test_brier_is_scikit_learns_to_rounding(self, seed, classes, count):
        rng = np.random.default_rng(seed)
        sure = rng.dirichlet(np.full(classes, rng.choice([0.05, 1.0, 20.0])), count)
        labels = rng.integers(0, classes, count)
        theirs = brier_score_loss(labels, sure, labels=range(classes), scale_by_half=False)
        assert brier(labels, sure) == pytest.approx(theirs, abs=1e-12)

    def test_calibration_error_by_hand(self):
        sure = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
        labels = np.array([0, 1, 1, 1])
        assert expected_calibration_error(labels, sure) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)

    @given(st.integers(1, 40))
    def test_bins_hold_every_image_once(self, bins):
        found = reliability(LABELS, PROBABILITIES, bins)
        assert found.counts.sum() == len(LABELS)
        full = found.counts > 0
        inside = found.confidence[full]
        assert (inside >= found.edges[:-1][full] - 1e-6).all()
        assert (inside <= found.edges[1:][full] + 1e-6).all()
        accuracy = (PROBABILITIES.argmax(axis=1) == LABELS).mean()
        assert (found.accuracy[full] * found.counts[full]).sum() / len(LABELS) == pytest.approx(
            accuracy
        )


class TestTemperature:
    @pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
    def test_undoes_a_temperature(self, temperature):
        right = fit_temperature(LABELS, PROBABILITIES)
        spoilt = tempered(PROBABILITIES, temperature)
        assert fit_temperature(LABELS, spoilt) * temperature == pytest.approx(right, rel=0.01)

    def test_is_of_least_log_loss(self):
        best = fit_temperature(LABELS, PROBABILITIES)
        losses = [log_loss(LABELS, tempered(PROBABILITIES, best * f)) for f in (0.9, 1, 1.1)]
        assert losses[1] == min(losses)

    def test_of_one_changes_nothing(self):
        np.testing.assert_allclose(tempered(PROBABILITIES, 1.0), PROBABILITIES, atol=1e-6)

    @pytest.mark.parametrize("wrong", [0, 1, 4])
    def test_of_certainties_stays_within_bounds(self, wrong):
        labels = np.array([0, 0, 1, 1])
        certain = np.eye(2, dtype=np.float32)[np.r_[1 - labels[:wrong], labels[wrong:]]]
        found = fit_temperature(labels, certain)
        assert 0.05 <= found <= 20
        if wrong == 4:
            assert found == pytest.approx(20, rel=0.01)
        assert np.isfinite(tempered(certain, found)).all()

    @pytest.mark.parametrize(("count", "at_most"), [(20, 0.96), (100, 0.991), (1000, 0.9991)])
    def test_being_right_every_time_does_not_make_certainties(self, count, at_most):
        """Without smoothing 100 images of 0.9 gave T = 0.06, and 0.6 was served as 0.9988."""
        labels = np.arange(count) % 2
        right = np.where(np.eye(2)[labels] == 1, 0.9, 0.1)
        temperature = fit_temperature(labels, right)
        sure = float(tempered(right[:1], temperature).max())
        assert sure == pytest.approx((count + 1) / (count + 2), abs=2e-3)
        assert sure <= at_most
        assert tempered(np.array([[0.6, 0.4]]), temperature).max() < 0.9


class TestServed:
    MEMBERS = np.array([[0.90, 0.10], [0.30, 0.70], [0.25, 0.75], [0.52, 0.48]])[:, None]

    def test_members_are_tempered_before_they_are_averaged(self):
        """Judged by the mean of untempered members this image was class 1, and served as 0."""
        mean = self.MEMBERS.mean(axis=0)
        each = [tempered(member, 2.0) for member in self.MEMBERS]
        np.testing.assert_allclose(served(self.MEMBERS, 2.0), np.mean(each, axis=0), atol=1e-7)
        assert (mean.argmax(), served(self.MEMBERS, 2.0).argmax()) == (1, 0)

    def test_is_what_the_network_gives(self):
        members = torch.from_numpy(self.MEMBERS)
        network = torch.stack([network_tempered(m, 2.0) for m in members]).mean(dim=0)
        np.testing.assert_allclose(served(self.MEMBERS, 2.0), network.numpy(), atol=1e-6)


class TestOutOfFold:
    FOLD = np.arange(600) % 5

    def test_a_folds_temperature_is_of_the_others(self):
        found, temperature = out_of_fold_temperature(LABELS, [PROBABILITIES], self.FOLD, IDS)
        assert temperature == fit_temperature(LABELS, PROBABILITIES)
        mine = self.FOLD == 2
        own = fit_temperature(LABELS[~mine], PROBABILITIES[~mine])
        np.testing.assert_array_equal(found[mine], tempered(PROBABILITIES[mine], own))

    def test_own_labels_have_no_say(self):
        changed = np.where(self.FOLD == 1, (LABELS + 1) % 8, LABELS)
        before, _ = out_of_fold_temperature(LABELS, [PROBABILITIES], self.FOLD, IDS)
        after, _ = out_of_fold_temperature(changed, [PROBABILITIES], self.FOLD, IDS)
        np.testing.assert_array_equal(before[self.FOLD == 1], after[self.FOLD == 1])
        assert (before[self.FOLD == 0] != after[self.FOLD == 0]).any()

    def test_with_repeats_an_images_own_rows_have_no_say(self):
        twice = np.r_[LABELS, LABELS], np.r_[PROBABILITIES, PROBABILITIES]
        fold, ids = np.r_[self.FOLD, 5 + (self.FOLD + 1) % 5], np.r_[IDS, IDS]
        before, _ = out_of_fold_temperature(twice[0], [twice[1]], fold, ids)
        mine = self.FOLD == 1
        labels = np.where(np.r_[mine, mine], (twice[0] + 1) % 8, twice[0])
        after, _ = out_of_fold_temperature(labels, [twice[1]], fold, ids)
        np.testing.assert_array_equal(before[fold == 1], after[fold == 1])

    def test_calibrates(self):
        found, _ = out_of_fold_temperature(LABELS, [PROBABILITIES], self.FOLD, IDS)
        before, after = (expected_calibration_error(LABELS, p) for p in (PROBABILITIES, found))
        assert after < before

    def test_a_single_fold_is_left_as_it_is(self):
        found, _ = out_of_fold_temperature(LABELS, [PROBABILITIES], np.zeros(600, int), IDS)
        np.testing.assert_array_equal(found, PROBABILITIES)

    def test_of_several_members_what_they_answer_together_is_calibrated(self):
        """Members that are each calibrated are together less sure than they are right."""
        rng = np.random.default_rng(3)
        labels = rng.integers(8, size=4000)
        common = 1.5 * np.eye(8)[labels] + rng.normal(size=(4000, 8))
        members = [softmax(common + rng.normal(size=common.shape), axis=1) for _ in range(5)]
        alone = [served([m], fit_temperature(labels, m)) for m in members]
        apart = expected_calibration_error(labels, np.mean(alone, axis=0))
        found, temperature = out_of_fold_temperature(
            labels, members, np.arange(4000) % 5, np.arange(4000)
        )
        assert temperature == fit_temperature(labels, *members)
        assert temperature < min(fit_temperature(labels, member) for member in members)
        assert expected_calibration_error(labels, found) < apart / 2
