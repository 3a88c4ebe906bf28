from dataclasses import replace

import numpy as np
import pytest

from folds.config.selection import SelectBy
from folds.evaluation.gains import Rivals, gain
from folds.evaluation.gate import beats, floors, no_class_drops, no_worse_under_shift
from folds.evaluation.predictions import Predictions, ShiftPredictions
from tests.folds.evaluation.synthetic import promoted, rivals


def held(champion, candidate, by="macro_f1", **more):
    return beats(Rivals((champion, candidate), **more), SelectBy.parse(by))


class TestBeats:
    def test_a_much_better_one_does_and_its_figures_are_told(self):
        found = held(*rivals(600, seed=0, training=0.1, gain=1.0), "macro_f1")
        assert found.passed
        assert found.text.startswith("macro_f1 0.")
        assert "better by +0." in found.text
        assert "corrected t test over folds p = 0.0" in found.text
        assert "\n" not in found.text

    def test_a_loss_is_better_when_smaller(self):
        a, b = rivals(600, seed=0, training=0.1, gain=1.0)
        assert held(a, b, "log_loss").passed
        assert not held(b, a, "log_loss").passed

    def test_the_same_does_not(self):
        a, _ = rivals(300, seed=0)
        assert not held(a, a).passed

    def test_gains_in_one_fold_only_do_not(self):
        """They may be that training's luck: the bootstrap alone would be satisfied."""
        a, _ = rivals(1000, seed=0)
        lucky = a.fold == 0
        b = replace(a, probabilities=np.where(lucky[:, None], np.eye(4)[a.labels], a.probabilities))
        assert not held(a, b).passed
        alone = [replace(one, fold=None, repeat=None) for one in (a, b)]
        assert held(*alone).passed

    def test_without_folds_the_bootstrap_decides(self):
        a, b = (replace(p, fold=None, repeat=None) for p in rivals(600, seed=0, gain=1.0))
        found = held(a, b)
        assert found.passed
        assert "over folds" not in found.text

    def test_a_sum_gains_what_its_terms_gain_together(self):
        pair = rivals(300, seed=0, gain=0.5)
        both = gain(Rivals(tuple(pair)), SelectBy.parse("0.5*macro_f1+2*log_loss"), 0.95)
        one, two = (
            gain(Rivals(tuple(pair)), SelectBy.parse(name), 0.95)
            for name in ("macro_f1", "log_loss")
        )
        assert both.value == pytest.approx(0.5 * one.value + 2 * two.value)
        assert both.lower == pytest.approx(0.5 * one.lower + 2 * two.lower)
        assert both.folds == pytest.approx(0.5 * np.array(one.folds) + 2 * np.array(two.folds))
        assert both.after - both.before == pytest.approx(both.value)

    def test_a_term_without_folds_does_not_spare_the_others_the_test_over_folds(self):
        """Perfect in one fold, equal elsewhere: luck by accuracy, and no less so in a sum."""
        a, _ = rivals(400, seed=0)
        sure = np.where((a.fold == 0)[:, None], np.eye(4)[a.labels], a.probabilities)
        b = replace(a, probabilities=sure)
        lab = replace(a, fold=None, repeat=None)
        found = held(a, b, "accuracy")
        assert not found.passed
        both = held(a, b, "0.5*accuracy+0.5*external.lab.accuracy", external={"lab": (lab, lab)})
        assert not both.passed
        assert "over folds" in both.text

    def test_what_is_better_under_shift_alone_beats_by_shift(self):
        a, _ = rivals(400, seed=0)
        wrong = [(a.labels + (np.arange(400) % n == 0)) % 4 for n in (2, 5)]
        names = np.array(["blur", "hue"])
        shift = tuple(
            ShiftPredictions(a.labels, np.stack([found] * 2), names, a.groups, 4, a.folds)
            for found in wrong
        )
        assert not held(a, a, shift=shift).passed
        for by in ("shift.macro_f1", "shift.worst", "shift.hue", "0.5*macro_f1+0.5*shift.accuracy"):
            found = held(a, a, by, shift=shift)
            assert found.passed, found.text
            assert "over folds" in found.text
        assert not held(a, a, "shift.macro_f1", shift=shift[::-1]).passed

    def test_what_is_not_measured_is_told(self):
        a, b = rivals(100, seed=0)
        for by in ("shift.macro_f1", "0.5*macro_f1+external.lab.accuracy"):
            with pytest.raises(ValueError, match="was not measured for both"):
                held(a, b, by)

    def test_other_folds_are_refused(self):
        a, b = rivals(100, seed=0)
        with pytest.raises(ValueError, match="different folds"):
            held(a, replace(b, fold=np.roll(b.fold, 1)))

    def test_equally_good_ones_rarely_do(self):
        """60 trials of at most 6%: more than 10 has a chance of 0.2%."""
        assert promoted(60, count=300, training=0.1) <= 10 / 60

    @pytest.mark.slow
    @pytest.mark.parametrize("training", [0.0, 0.1, 0.3])
    @pytest.mark.parametrize("group_size", [1, 5])
    def test_equally_good_ones_do_in_at_most_6_percent(self, training, group_size):
        assert promoted(1000, training=training, group_size=group_size) <= 0.06

    @pytest.mark.slow
    def test_equally_good_ones_on_an_external_set_do_in_at_most_6_percent(self):
        """Luck in training is no noise there: it is these two models that are compared."""
        assert promoted(1000, training=0, external=True) <= 0.06


class TestShift:
    LABELS = np.arange(400) % 4

    def shifted(self, wrong, seed=0):
        rng = np.random.default_rng(seed)
        predicted = np.stack([self.LABELS] * 3)
        spoilt = rng.random(predicted.shape) < wrong
        predicted = np.where(spoilt, (predicted + 1) % 4, predicted)
        names = np.array(["blur", "hue", "noise"])
        return ShiftPredictions(self.LABELS, predicted, names, np.arange(400), 4)

    def test_the_same_is_no_worse(self):
        assert no_worse_under_shift(self.shifted(0.2), self.shifted(0.2)).passed

    def test_a_better_one_is_no_worse(self):
        assert no_worse_under_shift(self.shifted(0.2), self.shifted(0.1)).passed

    def test_a_worse_one_is(self):
        found = no_worse_under_shift(self.shifted(0.1), self.shifted(0.2, seed=1))
        assert not found.passed
        assert "changes by -0.08" in found.text

    def test_a_small_but_certain_loss_is(self):
        champion = self.shifted(0.1)
        predicted = champion.predicted.copy()
        predicted[0, :9] = (self.LABELS[:9] + 1) % 4
        found = no_worse_under_shift(champion, replace(champion, predicted=predicted))
        assert not found.passed
        assert "changes by -0.00" in found.text

    def test_other_corruptions_are_refused(self):
        other = replace(self.shifted(0.1), corruptions=np.array(["blur", "hue", "snow"]))
        with pytest.raises(ValueError, match="same corruptions"):
            no_worse_under_shift(self.shifted(0.1), other)


class TestClasses:
    LABELS = np.repeat([0, 1], [80, 20])

    def predictions(self, wrong):
        predicted = self.LABELS.copy()
        predicted[80 : 80 + wrong] = 0
        return Predictions(self.LABELS, np.eye(2)[predicted] * 0.8 + 0.1, np.arange(100))

    @pytest.mark.parametrize(("wrong", "passes"), [(0, True), (1, True), (2, False)])
    def test_a_class_may_lose_so_much_and_no_more(self, wrong, passes):
        found = no_class_drops(self.predictions(0), self.predictions(wrong), ("a", "b"), 0.05)
        assert found.passed is passes
        assert found.text.startswith("greatest loss" if wrong else "no recall falls")
        if wrong:
            assert f"b 1.000 -> {1 - wrong / 20:.3f}" in found.text


@pytest.mark.parametrize(
    ("least", "passes", "words"),
    [
        ({}, None, "none asked for"),
        ({"macro_f1": 0.9}, True, "macro_f1 0.9100 (at least 0.9)"),
        ({"macro_f1": 0.9, "log_loss": 0.2}, False, "log_loss 0.3000 (at most 0.2: missed)"),
        ({"ece": 0.1}, False, "ece not measured (at most 0.1: missed)"),
        ({"external.lab.brier": 0.1}, False, "external.lab.brier 0.2000 (at most 0.1: missed)"),
    ],
)
def test_floors(least, passes, words):
    found = floors({"macro_f1": 0.91, "log_loss": 0.3, "external.lab.brier": 0.2}, least)
    assert found.passed is passes
    assert words in found.text
