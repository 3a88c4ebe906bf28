import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax as scipy_softmax
from sklearn import metrics

from folds.evaluation.calibration import expected_calibration_error
from folds.evaluation.metrics import (
    confusion,
    mean_and_std,
    odd_initial_loss,
    quick_scores,
    scores,
    softmax,
)

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 200)
LOGITS = (RNG.normal(0, 1, (200, 4)) + 1.5 * np.eye(4)[LABELS]).astype(np.float32)
PROBABILITIES = softmax(LOGITS)


class TestScores:
    def test_are_scikit_learns(self):
        found, predicted = scores(LABELS, PROBABILITIES), PROBABILITIES.argmax(axis=1)
        expected = {
            "accuracy": metrics.accuracy_score(LABELS, predicted),
            "balanced_accuracy": metrics.balanced_accuracy_score(LABELS, predicted),
            "macro_f1": metrics.f1_score(LABELS, predicted, average="macro"),
            "roc_auc": metrics.roc_auc_score(
                LABELS, scipy_softmax(LOGITS.astype(float), axis=1), multi_class="ovr"
            ),
            "log_loss": metrics.log_loss(LABELS, PROBABILITIES),
            "brier": metrics.brier_score_loss(LABELS, PROBABILITIES, scale_by_half=False),
            "ece": expected_calibration_error(LABELS, PROBABILITIES),
        }
        assert found == pytest.approx(expected, abs=1e-6)
        assert 0.5 < found["accuracy"] < 0.95

    def test_perfect_predictions_are_perfect(self):
        found = scores(LABELS, np.eye(4, dtype=np.float32)[LABELS])
        for loss in ("log_loss", "brier", "ece"):
            assert found.pop(loss) == pytest.approx(0, abs=1e-6)
        assert set(found.values()) == {1.0}

    def test_constant_predictions_are_chance(self):
        labels = np.arange(40) % 4
        found = scores(labels, np.tile(np.float32([0.4, 0.2, 0.2, 0.2]), (40, 1)))
        assert found == pytest.approx(
            {
                "accuracy": 0.25,
                "balanced_accuracy": 0.25,
                "macro_f1": 0.4 / 4,
                "roc_auc": 0.5,
                "log_loss": -(math.log(0.4) + 3 * math.log(0.2)) / 4,
                "brier": (0.6**2 + 3 * 0.2**2 + 3 * (0.4**2 + 0.8**2 + 2 * 0.2**2)) / 4,
                "ece": 0.15,
            },
            abs=1e-6,
        )

    def test_two_classes(self):
        labels = np.array([0, 0, 1, 1])
        first = np.float32([0.9, 0.4, 0.6, 0.2])
        found = scores(labels, np.stack([first, 1 - first], axis=1))
        assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(labels, 1 - first))

    @pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
    def test_a_class_without_images_is_left_out_of_means(self):
        rows = LABELS != 2
        found = scores(LABELS[rows], PROBABILITIES[rows])
        each = [
            metrics.roc_auc_score(LABELS[rows] == c, PROBABILITIES[rows][:, c]) for c in (0, 1, 3)
        ]
        predicted = PROBABILITIES[rows].argmax(axis=1)
        f1 = metrics.f1_score(LABELS[rows], predicted, labels=[0, 1, 3], average="macro")
        assert found["roc_auc"] == pytest.approx(np.mean(each))
        assert found["macro_f1"] == pytest.approx(f1)

    @pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
    @pytest.mark.filterwarnings("ignore:A single label was found")
    def test_one_class_alone_has_no_auc(self):
        found = scores(np.zeros(5, int), PROBABILITIES[:5])
        assert math.isnan(found["roc_auc"])
        assert math.isfinite(found["log_loss"])


class TestQuickScores:
    def test_are_those_of_scores(self):
        quick, full = quick_scores(LABELS, LOGITS), scores(LABELS, PROBABILITIES)
        assert quick["accuracy"] == full["accuracy"]
        assert quick["macro_f1"] == full["macro_f1"]
        assert quick["loss"] == pytest.approx(full["log_loss"], abs=1e-5)

    def test_loss_of_large_logits_is_finite(self):
        found = quick_scores(np.array([0, 1]), np.float32([[3e4, -3e4], [3e4, -3e4]]))
        assert found["loss"] == pytest.approx(3e4)


class TestSoftmax:
    @settings(max_examples=50)
    @given(st.lists(st.lists(st.floats(-1e30, 1e30), min_size=3, max_size=3), min_size=1))
    def test_rows_sum_to_one_and_agree_with_scipy(self, logits):
        logits = np.array(logits, dtype=np.float32)
        found = softmax(logits)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(found, scipy_softmax(logits.astype(float), axis=1), atol=1e-6)


def test_confusion_has_true_classes_as_rows():
    found = confusion(np.array([0, 0, 1]), np.float32([[1, 0, 0], [0, 0, 1], [0, 1, 0]]))
    assert found.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_mean_and_std():
    assert mean_and_std([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert mean_and_std([5.0]) == (5.0, 0.0)


class TestInitialLoss:
    @pytest.mark.parametrize("classes", [2, 8, 1000])
    def test_near_the_logarithm_of_the_classes_is_silent(self, classes):
        assert odd_initial_loss(1.1 * np.log(classes), classes) is None

    @pytest.mark.parametrize("factor", [0.5, 2.0])
    def test_far_from_it_is_told_with_both_numbers(self, factor):
        words = odd_initial_loss(factor * np.log(8), 8)
        assert f"{factor * np.log(8):.3g}" in words
        assert "about 2.08" in words
