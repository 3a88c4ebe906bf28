import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from folds.evaluation.intervals import intervals, shift_intervals
from folds.evaluation.metrics import scores
from folds.evaluation.predictions import Predictions, ShiftPredictions
from folds.evaluation.replicates import bootstrap_counts, tally
from tests.folds.evaluation.synthetic import coverage, synthetic


def some(seed, count=120, classes=5, decimals=2):
    """Predictions with ties, and perhaps without some class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    labels[labels == 4] = rng.choice([4, 0], (labels == 4).sum(), p=[0.1, 0.9])
    chances = rng.dirichlet(np.ones(classes), count) + 0.5 * np.eye(classes)[labels]
    chances = np.round(chances, decimals) + 1e-3
    return Predictions(
        labels, chances / chances.sum(axis=1, keepdims=True), rng.integers(0, 30, count)
    )


class TestReplicates:
    @settings(max_examples=30)
    @given(st.integers(0, 10**6))
    def test_as_they_are_the_scores_are_scikit_learns(self, seed):
        predictions = some(seed)
        found = {n: float(v[0]) for n, v in tally(predictions).observed().pooled.items()}
        assert found == pytest.approx(scores(predictions.labels, predictions.probabilities))

    @settings(max_examples=20)
    @given(st.integers(0, 10**6))
    def test_a_replicate_is_a_set_of_rows_repeated(self, seed):
        predictions = some(seed)
        counts = next(bootstrap_counts(int(predictions.clusters.max()) + 1, 2, seed))
        found = tally(predictions).scores(counts)
        for number in range(2):
            times = counts[:, number].astype(int)[predictions.clusters]
            again = predictions.take(np.repeat(np.arange(len(times)), times))
            if len(np.unique(again.labels)) < len(np.unique(predictions.labels)):
                continue  # classes that were not drawn are left out, not counted as 0
            expected = scores(again.labels, again.probabilities)
            assert {n: v[number] for n, v in found.pooled.items()} == pytest.approx(expected)

    def test_do_not_depend_on_how_many_fit_into_memory(self, monkeypatch):
        found = tally(some(0))
        whole = found.bootstrap(50, 1)
        monkeypatch.setattr("folds.evaluation.replicates._MOST_COUNTS", 7 * found.clusters)
        parts = found.bootstrap(50, 1)
        for name, values in whole.pooled.items():
            np.testing.assert_allclose(parts.pooled[name], values, atol=1e-12)

    def test_each_draws_as_many_clusters_as_there_are(self):
        (counts,) = bootstrap_counts(30, 40, 0)
        assert counts.shape == (30, 40)
        assert (counts.sum(axis=0) == 30).all()


class TestClassScores:
    def test_are_scikit_learns(self):
        predictions = some(3)
        labels, chances = predictions.labels, predictions.probabilities
        own = {name: each[:, 0] for name, each in tally(predictions).observed().per_class.items()}
        theirs = metrics.precision_recall_fscore_support(labels, chances.argmax(axis=1))
        for name, expected in zip(("precision", "recall", "f1"), theirs, strict=False):
            np.testing.assert_allclose(own[name], expected)
        for c in range(5):
            assert own["roc_auc"][c] == pytest.approx(
                metrics.roc_auc_score(labels == c, chances[:, c])
            )

    def test_of_a_class_that_is_not_there_are_not_defined(self):
        probabilities = np.eye(3)[[0, 1, 1]] * 0.9 + 0.1 / 3
        predictions = Predictions(np.array([0, 0, 1]), probabilities, np.arange(3))
        per_class = tally(predictions).observed().per_class
        assert math.isnan(per_class["recall"][2, 0])
        assert math.isnan(per_class["roc_auc"][2, 0])


class TestIntervals:
    def test_are_the_same_for_the_same_seed_and_in_any_order_of_rows(self):
        predictions = synthetic(300, seed=0)
        first = intervals(predictions, replicates=50)
        assert intervals(predictions, replicates=50) == first
        turned = intervals(predictions.take(np.arange(300)[::-1]), replicates=50)
        for name, one in first.pooled.items():
            assert turned.pooled[name].low == pytest.approx(one.low)

    @settings(max_examples=20)
    @given(st.integers(0, 10**6))
    def test_hold_the_value_and_lie_where_scores_do(self, seed):
        found = intervals(some(seed), replicates=50)
        each = [one for values in found.per_class.values() for one in values]
        for one in (*found.pooled.values(), *each):
            if math.isnan(one.value):
                assert math.isnan(one.low)
            else:
                assert 0 <= one.low <= one.value + 1e-12
                assert one.value <= one.high + 1e-12
        for name in ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc"):
            assert found.pooled[name].high <= 1

    def test_all_right_in_few_images_is_not_certain(self):
        labels = np.repeat([0, 1], [200, 25])
        found = intervals(Predictions(labels, np.eye(2)[labels] * 0.8 + 0.1, np.arange(225)))
        recall = found.per_class["recall"][1]
        assert recall.value == recall.high == 1
        assert 0.8 < recall.low < 0.9  # as Wilson's interval of 25 in 25

    def test_copies_of_an_image_say_nothing_new_if_they_are_a_group(self):
        once = synthetic(300, seed=0)
        copies = once.take(np.tile(np.arange(300), 4))
        told = Predictions(copies.labels, copies.probabilities, np.arange(1200))
        width = [
            one.high - one.low
            for one in (intervals(p).pooled["accuracy"] for p in (once, copies, told))
        ]
        assert width[1] == pytest.approx(width[0])
        assert width[2] == pytest.approx(width[0] / 2, rel=0.2)

    def test_one_group_alone_says_nothing(self):
        predictions = synthetic(50, seed=0)
        alone = Predictions(predictions.labels, predictions.probabilities, np.zeros(50))
        found = intervals(alone).pooled["accuracy"]
        assert (found.low, found.high) == (0, 1)

    def test_many_classes_and_images_are_possible(self):
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 60, 4000)
        chances = rng.dirichlet(np.ones(60), 4000) + 0.3 * np.eye(60)[labels]
        found = intervals(Predictions(labels, chances / 1.3, np.arange(4000)), replicates=100)
        assert len(found.per_class["f1"]) == 60


class TestShift:
    def test_scores_are_means_in_which_each_corruption_counts_the_same(self):
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 3, 90)
        noise = rng.random((3, 90)) < np.array([[0.1], [0.5], [0.3]])
        predicted = np.where(noise, (labels + 1) % 3, labels)
        names = np.array(["blur", "blur", "noise"])
        found = shift_intervals(ShiftPredictions(labels, predicted, names, np.arange(90), 3))
        f1 = [metrics.f1_score(labels, row, average="macro") for row in predicted]
        right = (predicted == labels).mean(axis=1)
        assert found["shift.blur"].value == pytest.approx((f1[0] + f1[1]) / 2)
        assert found["shift.macro_f1"].value == pytest.approx(
            (found["shift.blur"].value + f1[2]) / 2
        )
        assert found["shift.accuracy"].value == pytest.approx(
            ((right[0] + right[1]) / 2 + right[2]) / 2
        )
        mean = found["shift.macro_f1"]
        assert mean.low < mean.value < mean.high


class TestCoverage:
    @pytest.mark.parametrize("kind", [{}, {"group_size": 5}, {"repeats": 2}])
    def test_is_about_95_percent(self, kind):
        """Of 100 trials each pooled score; of the classes' scores their mean."""
        found = coverage(700, 100, least=40, replicates=100, **kind)
        for name in ("precision", "recall", "f1", "roc_auc"):
            of_classes = [v for n, v in found.items() if n.startswith(f"{name} of")]
            assert 0.92 <= np.mean(of_classes) <= 0.98, (name, of_classes)
        pooled = {n: v for n, v in found.items() if " of " not in n}
        assert len(pooled) == 7
        assert min(pooled.values()) >= 0.88, pooled
        assert 0.92 <= np.mean(list(pooled.values())) <= 0.98

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", [{}, {"group_size": 5}, {"repeats": 3}, {"skill": 2.5}])
    def test_is_92_to_98_percent(self, kind):
        """Of each score, give or take two standard errors of 1,000 trials; rare classes' 90% up."""
        found = coverage(800, 1000, replicates=300, **kind)
        for name, share in found.items():
            least, most = (0.92, 0.98) if " of " not in name else (0.90, 1.0)
            assert least - 0.014 <= share <= most + 0.014, (name, found)


def test_a_calibration_error_near_zero_has_an_interval():
    """Its value may lie far within the noise of one image, unlike that of a mean of losses."""
    probabilities = np.full((6, 3), 1 / 3, np.float32)
    labels = np.array([0, 1, 2, 0, 1, 2])
    found = intervals(Predictions(labels, probabilities, np.arange(6))).pooled
    assert found["ece"].value < 1e-7
    assert all(one.low <= one.value <= one.high for one in found.values())
