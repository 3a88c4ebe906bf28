"""Unequal classes: weights, targets, draws, and what a fold makes of them."""

import dataclasses
import io
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from folds.config import Config, DataConfig
from folds.config.train import Method, parse_weights
from folds.errors import UserError
from folds.evaluation.metrics import odd_initial_loss
from folds.images import load
from folds.runtime.device import Runtime
from folds.sampling import epoch_draws
from folds.training import inputs as training_inputs
from folds.training.balance import (
    BETA,
    balanced,
    epoch_targets,
    loss_weights,
    weights_by_hand,
)
from folds.training.fit import fit_fold

CPU = Runtime.choose("cpu", "fp32")
LAW = settings(max_examples=60)
METHODS = get_args(Method)
COUNTS = st.lists(st.integers(0, 400), min_size=2, max_size=9).filter(any).map(np.array)
SEEDS = st.integers(0, 2**32 - 1)
RARE = {1: 120, 3: 120, 8: 16}  # images of each digit


class TestWeights:
    @LAW
    @given(COUNTS)
    def test_are_scikit_learns_balanced_ones(self, counts):
        labels = np.repeat(np.arange(len(counts)), counts)
        there = np.flatnonzero(counts)
        expected = compute_class_weight("balanced", classes=there, y=labels)
        np.testing.assert_allclose(loss_weights(counts, "weights")[there], expected)

    @LAW
    @given(COUNTS)
    def test_effective_ones_are_inverse_to_the_effective_number(self, counts):
        counts = counts[counts > 0]
        weights = loss_weights(counts, "effective")
        numbers = [sum(BETA**power for power in range(count)) for count in counts]
        np.testing.assert_allclose(weights * numbers, weights[0] * numbers[0])

    @LAW
    @given(COUNTS, st.sampled_from(METHODS))
    def test_have_mean_1_over_the_images_and_are_larger_for_rarer_classes(self, counts, method):
        weights = loss_weights(counts, method)
        assert weights @ counts / counts.sum() == pytest.approx(1)
        assert (weights > 0).all()
        there = np.flatnonzero(counts)
        by_count = weights[there[np.argsort(counts[there], kind="stable")]]
        assert (np.diff(by_count) <= 1e-12).all()

    def test_by_hand_are_as_given_and_else_1(self):
        assert weights_by_hand("abc", {"b": 2.5}).tolist() == [1, 2.5, 1]

    def test_by_hand_go_with_a_method_of_drawing(self):
        found = balanced(np.array([0, 0, 0, 1]), ("a", "b"), "oversample", {"b": 2.0})
        assert found.weights.tolist() == [1, 2]
        assert found.targets.tolist() == [3, 3]
        assert found.images == 6
        assert found.facts(("a", "b")) == {
            "counts": {"a": 3, "b": 1}, "targets": {"a": 3, "b": 3}, "weights": {"a": 1, "b": 2},
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("name", "words"), [("basophl", "nearest: basophil"), ("qq", "classes are basophil, ig")]
    )
    def test_an_unknown_class_is_refused(self, name, words):
        with pytest.raises(UserError, match=f"--class-weights {name}: no such class; .*{words}"):
            weights_by_hand(("basophil", "ig"), {name: 2.0})


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("none", [5, 0, 2, 9, 4]),
        ("weights", [5, 0, 2, 9, 4]),
        ("effective", [5, 0, 2, 9, 4]),
        ("oversample", [9, 0, 9, 9, 9]),
        ("undersample", [2, 0, 2, 2, 2]),
        ("hybrid", [4, 0, 4, 4, 4]),  # the median is 4.5
    ],
)
def test_targets_are_the_largest_smallest_or_median_class(method, expected):
    assert epoch_targets(np.array([5, 0, 2, 9, 4]), method).tolist() == expected


class TestDraws:
    @staticmethod
    def training_part(counts, seed):
        """Labels of twice as many images, of which every class has its count in the part."""
        rng = np.random.default_rng(seed)
        labels = rng.permutation(np.tile(np.repeat(np.arange(len(counts)), counts), 2))
        order = np.argsort(labels, kind="stable")
        part = np.concatenate(
            [np.flatnonzero(labels == c)[:n] for c, n in enumerate(counts.tolist())]
        )
        assert len(part) * 2 == len(order)
        return np.sort(part), labels

    @LAW
    @given(COUNTS, st.sampled_from(METHODS), SEEDS, st.integers(0, 99))
    def test_of_a_class_are_its_target_and_each_image_comes_equally_often(
        self, counts, method, seed, epoch
    ):
        rows, labels = self.training_part(counts, seed)
        targets = epoch_targets(counts, method)
        draws, row = epoch_draws(rows, labels, targets, seed=seed, epoch=epoch)
        drawn = row[draws]
        assert np.bincount(labels[drawn], minlength=len(counts)).tolist() == targets.tolist()
        assert np.isin(drawn, rows).all()
        times = np.bincount(drawn, minlength=len(labels))
        for label, (count, target) in enumerate(zip(counts, targets, strict=True)):
            if count:
                found = times[rows[labels[rows] == label]]
                assert set(found) <= {target // count, -(-target // count)}

    @LAW
    @given(COUNTS, st.sampled_from(METHODS), SEEDS)
    def test_have_numbers_of_their_own_and_the_first_of_an_image_has_its_row(
        self, counts, method, seed
    ):
        rows, labels = self.training_part(counts, seed)
        draws, row = epoch_draws(rows, labels, epoch_targets(counts, method), seed=seed, epoch=3)
        assert len(np.unique(draws)) == len(draws)
        assert (row[: len(labels)] == np.arange(len(labels))).all()
        first = draws[draws < len(labels)]
        assert np.unique(row[draws]).tolist() == first.tolist()

    @LAW
    @given(COUNTS, SEEDS)
    def test_without_a_balance_are_the_rows(self, counts, seed):
        rows, labels = self.training_part(counts, seed)
        draws, row = epoch_draws(rows, labels, counts, seed=seed, epoch=0)
        assert draws.tolist() == rows.tolist()
        assert len(row) == len(labels)

    @LAW
    @given(COUNTS, SEEDS, st.sampled_from(METHODS))
    def test_do_not_depend_on_labels_outside_of_the_training_part(self, counts, seed, method):
        rows, labels = self.training_part(counts, seed)
        other = labels.copy()
        outside = np.setdiff1d(np.arange(len(labels)), rows)
        other[outside] = (other[outside] + 1) % len(counts)
        targets = epoch_targets(counts, method)
        one, two = (
            np.concatenate(epoch_draws(rows, some, targets, seed=seed, epoch=1))
            for some in (labels, other)
        )
        assert (one == two).all()

    @pytest.mark.parametrize("method", ["oversample", "undersample", "hybrid"])
    def test_are_others_in_another_epoch_and_the_same_again(self, method):
        counts = np.array([7, 30, 12])
        rows, labels = self.training_part(counts, 0)
        targets = epoch_targets(counts, method)
        epochs = []
        for epoch in (0, 1, 2, 0):
            draws, row = epoch_draws(rows, labels, targets, seed=5, epoch=epoch)
            epochs.append(tuple(np.sort(row[draws])))
        assert epochs[0] == epochs[3]
        assert len(set(epochs)) == 3


class TestSettings:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", {}),
            ("a=2", {"a": 2.0}),
            ("a=2,b=.5", {"a": 2.0, "b": 0.5}),
            ("a, b=2, c=1e-1", {"a, b": 2.0, "c": 0.1}),
            ("x=y=3", {"x=y": 3.0}),
            ({"a": 2, 7: "3"}, {"a": 2.0, "7": 3.0}),
        ],
    )
    def test_are_read(self, text, expected):
        assert parse_weights(text) == expected

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ("basophil", "must be NAME=W,NAME=W"),
            ("a=1,b", "must be NAME=W,NAME=W"),
            (["a=1"], "must be NAME=W,NAME=W"),
            (None, "must be NAME=W,NAME=W"),
            ("a=two", "the weight of a, 'two', is not a number"),
            ("a=", "is not a number"),
            ({"a": None}, "is not a number"),
            ("a=0", "the weight of a, 0, must be above 0"),
            ("a=-1", "must be above 0"),
            ({"a": float("nan")}, "must be above 0"),
            ({"a": float("inf")}, "must be above 0"),
            ("a=1,a=2", "a has two weights"),
        ],
    )
    def test_that_are_wrong_are_one_line(self, value, words):
        with pytest.raises(UserError, match=r"^--class-weights ") as caught:
            Config.from_flat({"class_weights": value})
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("method", ["weights", "effective"])
    def test_two_kinds_of_weights_are_refused(self, method):
        both = {"balance": method, "class_weights": "a=2"}
        with pytest.raises(UserError, match=f"--class-weights 'a=2': --balance {method} computes"):
            Config.from_flat(both)
        assert Config.from_flat({**both, "balance": "hybrid"}).train.class_weights == {"a": 2.0}

    def test_an_unknown_class_is_refused_before_training(self, make_problem):
        with pytest.raises(UserError, match="--class-weights klass0: no such class; nearest: cl"):
            make_problem(class_weights="klass0=2")

    def test_a_batch_larger_than_an_epoch_is_refused(self, make_images, make_problem):
        images = make_images((40, 8, 8))
        make_problem(images, batch_size=12, balance="undersample")
        with pytest.raises(UserError, match=r"after --balance undersample, 12 images; lower it"):
            make_problem(images, batch_size=13, balance="undersample")
        make_problem(images, batch_size=60, balance="oversample")


@pytest.fixture
def unequal(make_images):
    """Images of three classes, one of them rare."""
    return make_images((40, 24, 8))


class TestFold:
    @pytest.mark.parametrize("method", METHODS)
    def test_every_method_trains_and_begins_near_guessing(self, unequal, make_problem, method):
        result = fit_fold(
            make_problem(unequal, balance=method, stages=["1:1:1e-3"], batch_size=4),
            0, 0, runtime=CPU,
        )  # fmt: skip
        assert odd_initial_loss(result.history[0].first_loss, 3) is None

    def test_weights_by_hand_do_not_make_the_first_loss_odd(self, unequal, make_problem):
        problem = make_problem(unequal, class_weights="class0=20,class2=30", stages=["1:1:1e-4"])
        first = fit_fold(problem, 0, 0, runtime=CPU).history[0].first_loss
        assert odd_initial_loss(first, 3) is None

    def test_weights_of_all_classes_scale_the_gradient_and_not_the_loss(
        self, unequal, make_problem, monkeypatch
    ):
        found = []
        plain = torch.optim.AdamW.step

        def watched(self, *arguments, **options):
            found.append(self.param_groups[1]["params"][-1].grad.clone())
            return plain(self, *arguments, **options)

        monkeypatch.setattr(torch.optim.AdamW, "step", watched)
        once, thrice = (
            fit_fold(
                make_problem(unequal, class_weights=dict.fromkeys(unequal.class_names, weight),
                             stages=["1:1:1e-4"], batch_size=32),
                0, 0, runtime=CPU,
            )
            for weight in (1, 3)
        )  # fmt: skip
        assert len(found) == 2
        torch.testing.assert_close(found[1], 3 * found[0])
        assert once.history[0].train_loss == pytest.approx(thrice.history[0].train_loss)

    @pytest.mark.parametrize("method", METHODS)
    def test_labels_of_the_validation_part_change_nothing(self, unequal, make_problem, method):
        problem = make_problem(unequal, balance=method, stages=["1:1:1e-3"], batch_size=8)
        held_out = problem.splits.parts(0, 0, unequal.ids)[1]
        labels = unequal.labels.copy()
        labels[held_out] = 2
        other = dataclasses.replace(problem, images=dataclasses.replace(unequal, labels=labels))
        ends = []
        for one in (problem, other):
            kept = []
            fit_fold(one, 0, 0, runtime=CPU, on_checkpoint=kept.append)
            ends.append(torch.load(io.BytesIO(kept[-1]), weights_only=True)["model"])
        for name, tensor in ends[0].items():
            assert torch.equal(tensor, ends[1][name]), name

    def test_repetitions_share_a_view_while_a_front_is_frozen_and_no_longer(
        self, unequal, make_problem, monkeypatch
    ):
        views = []
        plain = training_inputs.augment

        def watched(pixels, numbers, config, size):
            views.extend(map(tuple, numbers.tolist()))
            return plain(pixels, numbers, config, size)

        monkeypatch.setattr(training_inputs, "augment", watched)
        problem = make_problem(
            unequal, balance="oversample", batch_size=20, stages=["0:1:1e-3", "1:1:1e-3"]
        )
        fit_fold(problem, 0, 0, runtime=CPU)
        frozen, free = views[:60], views[60:]
        assert len(free) == 60
        assert len(set(free)) == 60
        assert len(set(frozen)) == 20 + 12 + 4

    def test_weights_find_more_of_a_rare_digit(self, make_problem):
        digits = load(DataConfig(data="digits"), seed=0, largest=32)
        kept = np.concatenate(
            [np.flatnonzero(digits.labels == label)[:most] for label, most in RARE.items()]
        )
        images = dataclasses.replace(
            digits,
            pixels=digits.pixels[kept],
            labels=np.searchsorted(list(RARE), digits.labels[kept]),
            class_names=tuple(digits.class_names[label] for label in RARE),
            ids=digits.ids[kept],
            groups=digits.groups[kept],
        )
        recall = {}
        for method in ("none", "weights", "oversample"):
            problem = make_problem(
                images, backbone="test_resnet", stages=["1:6:3e-3"], balance=method,
                select_by="log_loss", augment=[{"op": "rotate", "max": 10}],
            )  # fmt: skip
            result = fit_fold(problem, 0, 0, runtime=CPU)
            rare = images.labels[result.rows] == 2
            recall[method] = (result.probabilities[rare].argmax(axis=1) == 2).mean()
        assert recall["weights"] > recall["none"]
        assert recall["oversample"] > recall["none"]
