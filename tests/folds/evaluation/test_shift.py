import numpy as np
import pytest

from folds.evaluation.metrics import quick_scores
from folds.evaluation.shift import shift_scores

LABELS = np.array([0, 0, 1, 1, 2, 2])


@pytest.fixture
def found():
    return shift_scores(
        LABELS,
        {
            ("jpeg", 1): np.array([0, 0, 1, 1, 2, 2]),
            ("jpeg", 5): np.array([0, 0, 1, 1, 1, 2]),
            ("hue", 1): np.array([0, 0, 0, 0, 0, 0]),
        },
    )


def test_each_case_is_scored_as_clean_images_are(found):
    assert found.accuracy == {("jpeg", 1): 1, ("jpeg", 5): 5 / 6, ("hue", 1): 2 / 6}
    clean = quick_scores(LABELS, np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 1, 2]])
    assert found.macro_f1[("jpeg", 5)] == clean["macro_f1"]


def test_corruptions_count_alike_however_many_severities(found):
    assert found.accuracies == {"jpeg": pytest.approx(11 / 12), "hue": pytest.approx(1 / 3)}
    assert found.mean_accuracy == pytest.approx((11 / 12 + 1 / 3) / 2)
    assert found.mean_macro_f1 == pytest.approx(np.mean(list(found.macro_f1s.values())))


def test_flat_names_the_metrics(found):
    assert found.worst == "hue"
    assert found.flat() == {
        "shift.accuracy": found.mean_accuracy,
        "shift.macro_f1": found.mean_macro_f1,
        "shift.worst": pytest.approx(0.5 / 3),
        "shift.jpeg": found.macro_f1s["jpeg"],
        "shift.hue": found.macro_f1s["hue"],
    }
