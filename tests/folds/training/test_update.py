"""Folds trained in every way, alone and from checkpoints."""

import dataclasses
import io

import numpy as np
import pytest
import torch

from folds.config.stages import Stage
from folds.errors import UserError
from folds.evaluation.metrics import odd_initial_loss
from folds.prepare import prepare
from folds.runtime.device import Runtime
from folds.training import fit
from tests.folds.training.test_fit import assert_same

STAGES = ["0:2:1e-3", "0.5:1:1e-3", "1:2:1e-3"]
WAYS = {
    "adamw": {"schedule": "plateau", "plateau_patience": 1, "clip_grad": 0.5,
              "backbone": "test_resnet", "frozen_norm": "train", "wise_ft": 0.4},
    "lion": {"schedule": "restarts", "restart_epochs": 2, "accumulate": 3, "sam": 0.05,
             "drop_path": 0.4},
    "sgd": {"schedule": "onecycle", "loss": "focal", "triplet": 0.3, "backbone": "test_resnet",
            "consistency": 2},
    "muon": {"schedule": "constant", "precision": "bf16"},
    "adam": {"precision": "fp16", "clip_grad": 0.5, "drop_path": 0.4, "backbone": "test_resnet"},
}  # fmt: skip


def train(problem, **options):
    runtime = Runtime.choose("cpu", problem.config.train.precision)
    return fit.fit_fold(problem, 0, 0, runtime=runtime, **options)


def opened(checkpoint):
    return torch.load(io.BytesIO(checkpoint), weights_only=True)


@pytest.mark.parametrize("optimizer", WAYS)
def test_from_any_epoch_ends_as_if_never_interrupted(make_problem, optimizer):
    """Before, at and behind the limits of stages, with an average."""
    way = {"precision": "fp32", "dropout": 0.3, **WAYS[optimizer]}
    problem = make_problem(optimizer=optimizer, stages=STAGES, ema=0.8, **way)
    checkpoints = []
    whole = train(problem, on_checkpoint=checkpoints.append)
    assert len(checkpoints) == 5
    for done, checkpoint in enumerate(checkpoints, start=1):
        again = []
        resumed = train(problem, checkpoint=checkpoint, on_checkpoint=again.append)
        assert_same(whole, resumed)
        assert whole.averaged == resumed.averaged
        assert len(again) == 5 - done
        if again:
            assert_equal(opened(again[-1]), opened(checkpoints[-1]))


def assert_equal(one, two):
    """Down to the last tensor of two checkpoints, but for the times in the history."""
    assert type(one) is type(two)
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for name in one:
            if name not in ("images_per_second", "seconds"):
                assert_equal(one[name], two[name])
    elif isinstance(one, list | tuple):
        for left, right in zip(one, two, strict=True):
            assert_equal(left, right)
    elif torch.is_tensor(one):
        assert torch.equal(one, two)
    else:
        assert one == two


class TestAccumulation:
    @pytest.mark.parametrize("parts", [2, 3, 16])
    def test_gives_what_whole_batches_give(self, make_problem, parts):
        settings = {"stages": ["1:2:1e-3"], "dropout": 0.3, "clip_grad": 0.5, "ema": 0.9}
        whole = train(make_problem(**settings))
        found = train(make_problem(accumulate=parts, **settings))
        np.testing.assert_allclose(found.probabilities, whole.probabilities, atol=1e-4)
        for one, two in zip(whole.history, found.history, strict=True):
            assert two.train_loss == pytest.approx(one.train_loss, abs=1e-5)

    def test_into_more_parts_than_images_is_refused(self, make_problem):
        with pytest.raises(UserError, match="--accumulate 17: larger than --batch-size 16; lower"):
            make_problem(accumulate=17)

    def test_and_triplets_are_refused(self, make_problem):
        with pytest.raises(
            UserError, match=r"--accumulate 2: --triplet looks .* leave one of them"
        ):
            make_problem(accumulate=2, triplet=0.1)


class TestAverage:
    def test_does_not_touch_the_training(self, make_problem):
        plain, other = train(make_problem()), train(make_problem(ema=0.9))
        for one, two in zip(plain.history, other.history, strict=True):
            assert (one.train_loss, one.val_loss) == (two.train_loss, two.val_loss)
            assert one.ema_loss is None
            assert two.ema_loss != two.val_loss

    @pytest.mark.parametrize(("rate", "epochs"), [("3e-2", 6), ("3e-3", 2)])
    def test_the_better_of_both_is_kept(self, make_problem, rate, epochs):
        """The average is better where the steps are large."""
        settings = {
            "stages": [f"1:{epochs}:{rate}"],
            "select_by": "log_loss",
            "schedule": "constant",
            "choose_epoch": "best",
        }
        result = train(make_problem(ema=0.8, **settings))
        best = result.history[result.kept_epoch]
        assert result.averaged == (rate == "3e-2")
        assert best.averaged == result.averaged == (best.ema_loss < best.val_loss)
        assert best.score == -min(best.ema_loss, best.val_loss)
        assert result.scores["log_loss"] == pytest.approx(-best.score, abs=1e-5)

    @pytest.mark.parametrize("choice", ["last", "crossfit"])
    def test_it_is_kept_unless_the_better_may_be_chosen(self, make_problem, choice):
        """To choose between the two by the images that are scored would flatter."""
        result = train(make_problem(ema=0.8, stages=["1:2:1e-3"], choose_epoch=choice))
        assert result.averaged
        assert [report.averaged for report in result.history] == [True, True]

    def test_weights_that_were_kept_are_those_of_the_average(self, make_problem):
        problem = make_problem(
            backbone="test_resnet", ema=0.9, stages=["1:2:1e-3"], select_by="log_loss"
        )
        checkpoints = []
        result = train(problem, on_checkpoint=checkpoints.append)
        states = [opened(checkpoint) for checkpoint in checkpoints]
        source = "average" if result.averaged else "model"
        kept = states[result.kept_epoch][source]
        assert all(torch.equal(tensor, kept[name]) for name, tensor in result.weights.items())
        assert any(not torch.equal(t, states[0]["model"][n])
                   for n, t in states[0]["average"].items())  # fmt: skip


class TestSchedules:
    def test_plateau_follows_the_validation(self, make_problem, monkeypatch):
        monkeypatch.setattr(fit, "selection_score", lambda place, model, logits: 0.5)
        problem = make_problem(
            stages=["0:4:1e-2", "1:3:1e-3"], schedule="plateau", plateau_patience=2,
            plateau_factor=0.5,
        )  # fmt: skip
        rates = [report.learning_rate for report in train(problem).history]
        assert rates == pytest.approx([1e-2, 1e-2, 1e-2, 5e-3, 1e-3, 1e-3, 1e-3])


class TestLosses:
    @pytest.mark.parametrize("settings", [{"loss": "focal"}, {"triplet": 1.0, "stages": STAGES}])
    def test_first_loss_is_still_that_of_guessing(self, make_problem, settings):
        history = train(make_problem(label_smoothing=0.0, **settings)).history
        assert odd_initial_loss(history[0].first_loss, 3) is None

    def test_triplets_change_what_the_backbone_learns(self, make_problem):
        plain, other = (
            train(make_problem(stages=["0:1:1e-3", "1:2:1e-3"], triplet=weight)).history
            for weight in (0.0, 1.0)
        )
        assert plain[0].train_loss == other[0].train_loss  # the backbone is frozen
        assert plain[2].train_loss != other[2].train_loss


class TestHalf:
    def test_runs_and_is_near(self, make_problem):
        found = {
            kind: train(make_problem(precision=kind)).history[0].train_loss
            for kind in ("fp32", "fp16")
        }
        assert found["fp16"] == pytest.approx(found["fp32"], abs=0.05)
        assert found["fp16"] != found["fp32"]

    def test_gradients_are_scaled(self, make_problem):
        checkpoints = []
        train(make_problem(precision="fp16"), on_checkpoint=checkpoints.append)
        assert opened(checkpoints[-1])["scaler"]["scale"] > 1


class TestPrepare:
    def test_an_unknown_optimizer_is_refused_before_images_are_read(self, make_problem):
        config = make_problem(optimizer="adamwx").config

        def load(*arguments, **options):
            raise AssertionError("images were read")

        with pytest.raises(UserError, match=r"--optimizer adamwx: .*nearest: adamw"):
            prepare(config, load=load)

    def test_greatest_rate_is_where_corrected_decay_starts(self, make_problem):
        problem = make_problem(optimizer="adamc", stages=["0:1:1e-2", "1:1:1e-3"])
        assert problem.stages[0] == Stage(0.0, 1, 1e-2)
        result = train(dataclasses.replace(problem))
        assert all(torch.isfinite(tensor).all() for tensor in result.weights.values())
