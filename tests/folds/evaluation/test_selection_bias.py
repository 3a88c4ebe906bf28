from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from folds.config.scores import SCORES
from folds.config.selection import SelectBy
from folds.evaluation.metrics import scores
from folds.evaluation.paired import bootstrap_difference
from folds.evaluation.predictions import Predictions, ShiftPredictions
from folds.evaluation.replicates import bootstrap_counts, tally
from folds.evaluation.selection_bias import corrected_score, indistinguishable
from folds.evaluation.shift_replicates import shift_tally

ACCURACY = SelectBy.parse("accuracy")
seeds = st.integers(0, 10**6)


def models(count, *, seed, trials=20, group_size=1, better=0.0, classes=8):
    """Predictions of equally good models for the same images; the first may be better.

    An image is as hard for the one as for the other, and so are those of a group, which share half
    of a model's own noise as well.
    """
    rng = np.random.default_rng(seed)
    group = np.arange(count) // group_size
    labels = rng.integers(0, classes, count)
    fold = rng.permutation(group.max() + 1)[group] % 5
    hardness = rng.normal(0, 1, (group.max() + 1, classes))[group]
    found = []
    for trial in range(trials):
        shared, alone = (rng.normal(0, 0.57, (n, classes)) for n in (group.max() + 1, count))
        skill = 2.2 + (better if trial == 0 else 0)
        logits = skill * np.eye(classes)[labels] + hardness + shared[group] + alone
        found.append(Predictions(labels, softmax(logits, axis=1), group, fold, np.zeros_like(fold)))
    return found


def corrupted(trials, rows):
    """Some of the images under two corruptions: what a model thinks most likely, and second."""
    return [
        ShiftPredictions(
            one.labels[rows],
            np.argsort(-one.probabilities[rows], axis=1)[:, :2].T,
            np.array(["blur", "hue"]),
            one.groups[rows],
            one.probabilities.shape[1],
            one.fold[rows],
        )
        for one in trials
    ]


def accuracy(predictions):
    return float((predictions.probabilities.argmax(axis=1) == predictions.labels).mean())


def bias(datasets, count, select=ACCURACY, **kind):
    """How far the naive and the corrected value lie above the truth, on average.

    The truth of equal models is their mean on the same images, which leaves out what the images
    themselves leave to chance.
    """
    found = []
    for seed in range(datasets):
        trials = models(count, seed=seed, **kind)
        truth = np.mean([corrected_score([one], select, replicates=1).naive for one in trials])
        best = corrected_score(trials, select, replicates=100, seed=seed)
        found.append((best.naive - truth, best.value - truth))
    return np.mean(found, axis=0)


class TestSimulation:
    def test_the_best_of_equal_models_is_worth_what_all_are(self):
        naive, value = bias(15, 1000)
        assert naive > 0.01
        assert abs(value) < 0.003

    @pytest.mark.slow
    @pytest.mark.parametrize("select", ["accuracy", "macro_f1", "log_loss"])
    @pytest.mark.parametrize(("count", "group_size"), [(300, 1), (1000, 1), (600, 4)])
    def test_of_several_scores(self, count, select, group_size):
        naive, value = bias(200, count, SelectBy.parse(select), group_size=group_size)
        assert naive > 0.01
        assert abs(value) < 0.003

    def test_a_clearly_best_model_keeps_its_score(self):
        for seed in range(3):
            found = corrected_score(models(600, seed=seed, better=1.0), ACCURACY)
            assert found.optimism == pytest.approx(0, abs=0.001)


class TestCorrectedScore:
    @settings(max_examples=10)
    @given(seeds, st.sampled_from(SCORES))
    def test_a_single_model_keeps_its_score(self, seed, metric):
        (own,) = models(150, seed=seed, trials=1)
        found = corrected_score([own], SelectBy.parse(metric), replicates=20)
        value = SelectBy.parse(metric).value(scores(own.labels, own.probabilities))
        assert (found.naive, found.value) == pytest.approx((value, value))
        assert found.low <= found.value <= found.high

    @settings(max_examples=10)
    @given(seeds, st.randoms())
    def test_neither_order_nor_copies_of_images_matter(self, seed, random):
        trials = models(100, seed=seed, trials=4)
        select = SelectBy.parse("brier")
        found = corrected_score(trials, select, replicates=30)
        mixed = corrected_score(random.sample(trials, 4), select, replicates=30)
        twice = corrected_score(
            [one.take(np.repeat(np.arange(100), 2)) for one in trials], select, replicates=30
        )
        for other in (mixed, twice):
            assert other.value == pytest.approx(found.value)
            assert (other.low, other.high) == pytest.approx((found.low, found.high))

    def test_by_hand(self):
        """Rows repeated as often as their groups are drawn, and the rows of the other groups."""
        trials = models(120, seed=0, trials=5, group_size=3)
        select = SelectBy.parse("2*macro_f1+0.5*roc_auc")
        value = lambda p: select.value(scores(p.labels, p.probabilities))  # noqa: E731
        best, chosen, control = max(trials, key=value), [], []
        for drawn in next(bootstrap_counts(40, 8, 3)).T.astype(int):
            inside = np.repeat(np.arange(120), drawn[trials[0].groups])
            outside = np.flatnonzero(drawn[trials[0].groups] == 0)
            pick = max(trials, key=lambda one: value(one.take(inside)))
            chosen.append(value(pick.take(outside)))
            control.append(value(best.take(outside)))
        found = corrected_score(trials, select, replicates=8, seed=3)
        assert found.naive == pytest.approx(value(best))
        assert found.value == pytest.approx(value(best) + np.mean(chosen) - np.mean(control))
        assert found.low == pytest.approx(
            np.quantile(chosen, 0.025) + found.value - np.mean(chosen)
        )

    def test_does_not_depend_on_how_many_fit_into_memory(self, monkeypatch):
        trials, other = models(60, seed=0, trials=3), models(40, seed=1, trials=3)
        select = SelectBy.parse("accuracy+external.lab.accuracy")
        whole = corrected_score(trials, select, external={"lab": other}, replicates=20)
        monkeypatch.setattr("folds.evaluation.replicates._MOST_COUNTS", 7 * 60)
        assert corrected_score(trials, select, external={"lab": other}, replicates=20) == whole

    def test_corrupted_images_are_drawn_with_the_images_they_are_of(self):
        trials, rows = models(90, seed=0, trials=4, group_size=3), np.arange(30, 90, 2)
        shift = corrupted(trials, rows)
        found = corrected_score(
            trials, SelectBy.parse("shift.accuracy"), shift=shift, replicates=10, seed=1
        )
        outside, inside = [], []
        for drawn in next(bootstrap_counts(30, 10, 1)).T:
            own = drawn[10:][:, None]
            values = [shift_tally(one).scores(own)["shift.accuracy"][0] for one in shift]
            inside.append(int(np.argmax(values)))
            left = [shift_tally(one).scores(1.0 * (own == 0))["shift.accuracy"][0] for one in shift]
            outside.append(left)
        naive = [shift_tally(one).observed()["shift.accuracy"] for one in shift]
        chosen = np.mean([left[pick] for left, pick in zip(outside, inside, strict=True)])
        control = np.mean([left[int(np.argmax(naive))] for left in outside])
        assert found.value == pytest.approx(max(naive) + chosen - control)

    def test_external_images_are_drawn_too(self):
        trials = models(80, seed=0, trials=6)
        external = {"lab": models(60, seed=1, trials=6)}
        found = corrected_score(
            trials, SelectBy.parse("external.lab.accuracy"), external=external, seed=5
        )
        assert found == corrected_score(external["lab"], ACCURACY, seed=5)
        both = SelectBy.parse("accuracy+external.lab.log_loss")
        joint = corrected_score(trials, both, external=external)
        sums = [
            accuracy(own) - scores(other.labels, other.probabilities)["log_loss"]
            for own, other in zip(trials, external["lab"], strict=True)
        ]
        assert joint.naive == pytest.approx(max(sums))
        assert joint.optimism > 0

    def test_replicates_in_which_the_score_is_undefined_are_left_out(self):
        labels = np.array([0] * 30 + [1])  # drawn or not, the one image of class 1 is missed
        trials = [replace(one, labels=labels) for one in models(31, seed=0, trials=3, classes=2)]
        found = corrected_score(trials, SelectBy.parse("roc_auc"), replicates=200)
        assert 20 < found.replicates < 150

    def test_one_group_alone_says_nothing(self):
        trials = [replace(one, groups=np.zeros(50)) for one in models(50, seed=0, trials=3)]
        found = corrected_score(trials, ACCURACY)
        assert found.replicates == 0
        assert np.isnan([found.value, found.low, found.high, found.optimism]).all()

    def test_what_was_not_measured_for_all_is_refused(self):
        trials = models(60, seed=0, trials=3)
        with pytest.raises(ValueError, match="0 of 3 models were measured under corruptions"):
            corrected_score(trials, SelectBy.parse("shift.accuracy"))
        with pytest.raises(ValueError, match="0 of 3 models were measured on external images lab"):
            corrected_score(trials, SelectBy.parse("external.lab.accuracy"))
        with pytest.raises(ValueError, match="not of the same rows"):
            corrected_score([*trials, trials[0].take(np.arange(30))], ACCURACY)
        other = [replace(one, groups=one.groups + 1000) for one in corrupted(trials, np.arange(9))]
        with pytest.raises(ValueError, match="groups that the images do not have"):
            corrected_score(trials, SelectBy.parse("shift.accuracy"), shift=other)


class TestIndistinguishable:
    def test_most_equal_models_are_and_a_worse_one_is_not(self):
        trials = models(600, seed=0, trials=6, better=1.0)
        of_better = indistinguishable(trials, 0, ACCURACY)
        assert [one.same for one in of_better] == [True] + [False] * 5
        assert of_better[0].value == 0
        assert all(one.low > 0 and one.p < 0.05 for one in of_better[1:])
        assert sum(one.same for one in indistinguishable(trials[1:], 0, ACCURACY)) >= 4

    def test_intervals_are_those_of_the_paired_bootstrap(self):
        trials = models(200, seed=0, trials=3)
        found = indistinguishable(trials, 1, ACCURACY)[2]
        expected = bootstrap_difference(trials[2], trials[1]).pooled["accuracy"]
        assert found.value == accuracy(trials[1]) - accuracy(trials[2])
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))

    def test_of_other_images_than_those_in_folds(self):
        trials = models(200, seed=0, trials=2)
        shift = corrupted(trials, np.arange(100))
        external = {"lab": [replace(one, fold=None, repeat=None) for one in trials]}
        select = SelectBy.parse("shift.accuracy")
        assert indistinguishable(trials, 0, select, shift=shift)[0].same
        select = SelectBy.parse("external.lab.accuracy")
        assert indistinguishable(trials, 0, select, external=external)[1].p == 1


@given(seeds)
@settings(max_examples=5)
def test_without_the_roc_auc_the_other_scores_are_the_same(seed):
    (own,) = models(60, seed=seed, trials=1)
    counts = next(bootstrap_counts(60, 5, seed))
    every, some = tally(own).scores(counts), tally(own).scores(counts, ranked=False)
    assert set(every.pooled) - set(some.pooled) == {"roc_auc"}
    for name, values in some.pooled.items():
        np.testing.assert_array_equal(values, every.pooled[name])
