import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from folds.evaluation.metrics import scores
from folds.evaluation.paired import bootstrap_difference, fold_differences, shift_difference
from folds.evaluation.predictions import Predictions, ShiftPredictions
from folds.evaluation.significance import corrected_t, holm, mcnemar
from tests.folds.evaluation.synthetic import rivals

DIFFERENCES = st.lists(st.floats(-1, 1).map(lambda x: round(x, 4)), min_size=2, max_size=30)
CLASSES = st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=120)


class TestCorrectedT:
    @given(DIFFERENCES, st.randoms())
    def test_laws(self, differences, random):
        found = corrected_t(differences, 0.2)
        turned = corrected_t([-d for d in differences], 0.2)
        assert turned.mean == pytest.approx(-found.mean)
        assert turned.low == pytest.approx(-found.high, abs=1e-12)
        assert turned.p == pytest.approx(found.p)
        assert found.low <= found.mean <= found.high
        random.shuffle(differences)
        assert corrected_t(differences, 0.2).p == pytest.approx(found.p)

    @given(DIFFERENCES.filter(lambda d: np.std(d) > 1e-6))
    def test_without_overlap_it_is_students(self, differences):
        found = corrected_t(differences, 0.0)
        theirs = stats.ttest_1samp(differences, 0)
        assert found.p == pytest.approx(theirs.pvalue)
        assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()))
        one_sided = stats.ttest_1samp(differences, 0, alternative="greater")
        assert found.p_greater == pytest.approx(one_sided.pvalue)

    def test_by_hand(self):
        """Ten folds: variance (1/10 + 1/9) s²."""
        differences = [0.01, 0.02, 0.0, 0.03, 0.01, 0.02, -0.01, 0.02, 0.01, 0.03]
        t = np.mean(differences) / np.sqrt((1 / 10 + 1 / 9) * np.var(differences, ddof=1))
        assert corrected_t(differences, 0.1).p == pytest.approx(2 * stats.t.sf(t, 9))

    def test_no_difference_is_p_1_and_a_single_fold_says_nothing(self):
        assert corrected_t([0.0, 0.0, 0.0], 0.3).p == 1
        alone = corrected_t([0.5], 0.2)
        assert (alone.p, alone.p_greater) == (1, 1)
        assert alone.low == -np.inf


class TestMcNemar:
    @given(CLASSES)
    def test_laws(self, rows):
        labels, a, b = np.array(rows).T
        found, turned = mcnemar(labels, a, b), mcnemar(labels, b, a)
        assert (found.only_a, found.only_b, found.p) == (turned.only_b, turned.only_a, turned.p)
        assert mcnemar(labels, a, a).p == 1
        backwards = mcnemar(labels[::-1], a[::-1], b[::-1])
        assert backwards == found
        assert 0 <= found.p <= 1

    @given(st.integers(0, 24), st.integers(0, 24))
    def test_of_few_is_the_binomial_test(self, only_a, only_b):
        if not 0 < only_a + only_b < 25:
            return
        labels = np.zeros(only_a + only_b, dtype=int)
        a = np.repeat([0, 1], [only_a, only_b])
        expected = stats.binomtest(only_a, only_a + only_b).pvalue
        assert mcnemar(labels, a, 1 - a).p == pytest.approx(expected)

    def test_of_many_is_near_the_binomial_test(self):
        a = np.repeat([0, 1], [60, 35])
        found = mcnemar(np.zeros(95, dtype=int), a, 1 - a)
        assert found.p == pytest.approx(stats.binomtest(35, 95).pvalue, abs=0.002)
        assert found.p == pytest.approx(stats.chi2.sf(24**2 / 95, 1))


class TestBootstrap:
    @settings(max_examples=15)
    @given(st.integers(0, 10**6), st.sampled_from([1, 4]))
    def test_laws(self, seed, group_size):
        a, b = rivals(150, seed=seed, group_size=group_size)
        found, turned = (bootstrap_difference(*pair, replicates=40) for pair in ((a, b), (b, a)))
        for name, one in found.pooled.items():
            other = turned.pooled[name]
            assert (other.value, other.low, other.lower) == pytest.approx(
                (-one.value, -one.high, -one.upper), abs=1e-12
            )
            assert one.low <= one.lower <= one.value <= one.upper <= one.high
        same = bootstrap_difference(a, a, replicates=40)
        for one in same.pooled.values():
            assert (one.value, one.low, one.high, one.p) == (0, 0, 0, 1)
        order = np.random.default_rng(seed).permutation(150)
        mixed = bootstrap_difference(a.take(order), b.take(order), replicates=40)
        assert mixed.pooled["brier"].low == pytest.approx(found.pooled["brier"].low)

    def test_values_are_differences_of_scores(self):
        a, b = rivals(200, seed=0)
        before, after = (scores(p.labels, p.probabilities) for p in (a, b))
        found = bootstrap_difference(a, b, replicates=20)
        assert {n: d.value for n, d in found.pooled.items()} == pytest.approx(
            {n: after[n] - before[n] for n in before}
        )

    def test_pairing_narrows_the_interval(self):
        a, b = rivals(400, seed=0, training=0)
        paired = bootstrap_difference(a, b).pooled["log_loss"]
        alone = bootstrap_difference(a, b, paired=False).pooled["log_loss"]
        assert alone.value == paired.value
        assert paired.high - paired.low < 0.8 * (alone.high - alone.low)

    def test_a_class_of_few_images_is_never_certain(self):
        labels = np.repeat([0, 1], [100, 20])
        sure = np.eye(2)[labels] * 0.8 + 0.1
        a = Predictions(labels, sure, np.arange(120))
        one = bootstrap_difference(a, a).per_class["recall"][1]
        assert one.low < -0.05
        assert (one.value, one.p) == (0, 1)

    def test_other_rows_are_refused(self):
        a, b = rivals(100, seed=0)
        with pytest.raises(ValueError, match="not of the same rows"):
            bootstrap_difference(a, b.take(np.arange(100)[::-1]))


def test_differences_of_folds_are_those_of_their_scores():
    a, b = rivals(200, seed=0)
    found = fold_differences(a, b, "macro_f1")
    assert len(found) == 5
    rows = a.fold == 3
    before, after = (scores(p.labels[rows], p.probabilities[rows])["macro_f1"] for p in (a, b))
    assert found[3] == pytest.approx(after - before)


def test_differences_under_shift():
    labels = np.arange(60) % 3
    right, wrong = np.stack([labels] * 2), np.stack([(labels + 1) % 3, labels])
    a, b = (
        ShiftPredictions(labels, predicted, np.array(["blur", "hue"]), np.arange(60), 3)
        for predicted in (right, wrong)
    )
    found = shift_difference(a, b)
    assert found["shift.blur"].value == -1
    assert found["shift.hue"].value == 0
    assert found["shift.macro_f1"].value == -0.5


def test_holms_correction():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    assert holm([]) == []
