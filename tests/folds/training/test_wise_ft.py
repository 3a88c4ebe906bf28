"""Weights between the network before its backbone was unfrozen and the trained one."""

import io

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from folds.errors import UserError
from folds.evaluation.metrics import softmax
from folds.model.backbone import build
from folds.runtime.device import Runtime
from folds.runtime.workers import Workers
from folds.training.context import fold_context
from folds.training.fit import fit_fold
from folds.training.predict import predict, training_images
from folds.training.refit import RefitPlan

CPU = Runtime.choose("cpu", "fp32")
STAGES = ["0:2:1e-2", "0.5:1:3e-3", "1:2:3e-3"]


def train(problem, fold=0, **options):
    checkpoints = []
    result = fit_fold(problem, 0, fold, runtime=CPU, on_checkpoint=checkpoints.append, **options)
    states = [torch.load(io.BytesIO(one), weights_only=True)["model"] for one in checkpoints]
    return result, states


def network(problem, weights):
    options = {"classes": 3, "size": 32, "dropout": 0.0, "pretrained": None, "seed": 0}
    model = build(problem.config.model.backbone, **options)
    model.load_state_dict(weights)
    return model.eval()


class TestKept:
    @pytest.mark.parametrize("alpha", [0.0, 0.3, 0.9])
    def test_are_between_the_end_of_the_frozen_stage_and_the_last(self, make_problem, alpha):
        _, states = train(make_problem(stages=STAGES))
        found, _ = train(make_problem(stages=STAGES, wise_ft=alpha))
        for name, tensor in found.weights.items():
            assert_close(tensor, torch.lerp(states[1][name], states[-1][name], alpha))

    def test_of_an_average_are_of_that(self, make_problem):
        checkpoints = []
        problem = make_problem(stages=STAGES, wise_ft=0.5, ema=0.8)
        found = fit_fold(problem, 0, 0, runtime=CPU, on_checkpoint=checkpoints.append)
        last = torch.load(io.BytesIO(checkpoints[-1]), weights_only=True)
        assert found.averaged
        for name, tensor in found.weights.items():
            assert_close(tensor, torch.lerp(last["anchor"][name], last["average"][name], 0.5))

    def test_are_what_is_scored(self, make_problem):
        problem = make_problem(stages=STAGES, wise_ft=0.5)
        found, _ = train(problem)
        context = fold_context(problem, 0, 0, CPU, Workers(), lambda view: None)
        model = network(problem, found.weights)
        again = predict(context, model, context.pixels, context.held_out)
        np.testing.assert_allclose(found.probabilities, again, atol=1e-5)

    def test_of_alpha_0_give_the_frozen_stages_scores(self, make_problem):
        found, _ = train(make_problem(stages=STAGES, wise_ft=0.0))
        losses = [report.val_loss for report in found.history]
        assert losses[0] != losses[1]
        assert losses[2:] == pytest.approx([losses[1]] * 3, abs=1e-5)

    def test_do_not_disturb_training(self, make_problem):
        plain, other = (train(make_problem(stages=STAGES, wise_ft=a))[0] for a in (1.0, 0.5))
        for one, two in zip(plain.history, other.history, strict=True):
            assert one.train_loss == two.train_loss
        assert plain.history[1].val_loss == other.history[1].val_loss
        assert plain.history[-1].val_loss != other.history[-1].val_loss

    @pytest.mark.parametrize("choice", ["best", "crossfit"])
    def test_each_epochs_are_what_is_chosen_from(self, make_problem, choice):
        problem = make_problem(
            stages=STAGES, wise_ft=0.5, choose_epoch=choice, select_by="log_loss"
        )
        found, _ = train(problem)
        best = found.history[found.kept_epoch]
        assert found.scores["log_loss"] == pytest.approx(best.val_loss, abs=1e-5)
        if choice == "crossfit":
            again = softmax(found.epoch_logits[found.kept_epoch].astype(np.float32))
            np.testing.assert_allclose(again, found.probabilities, atol=5e-3)

    def test_of_a_refit_are_between_them_too(self, make_problem):
        stages, plan = ["0:1:1e-2", "1:2:3e-3"], RefitPlan(3, False, (1e-2, 3e-3, 3e-3))
        found, states = train(make_problem(stages=stages, wise_ft=0.5), fold=2, refit=plan)
        for name, tensor in found.weights.items():
            assert_close(tensor, torch.lerp(states[0][name], states[-1][name], 0.5))


class TestBatchNorm:
    def test_that_has_moved_has_the_statistics_of_training_images(self, make_problem):
        problem = make_problem(backbone="test_resnet", stages=["0:1:1e-2", "1:2:1e-2"], wise_ft=0.5)
        found, states = train(problem)
        model = network(problem, found.weights)
        context = fold_context(problem, 0, 0, CPU, Workers(), lambda view: None)
        name, norm = next(
            (n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.BatchNorm2d)
        )
        seen = []
        norm.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        with torch.no_grad():
            for batch in training_images(context):
                model(batch)
        means = torch.stack([one.mean((0, 2, 3)) for one in seen]).mean(0)
        assert_close(norm.running_mean, means, atol=1e-5, rtol=1e-4)
        ends = (states[at][f"{name}.running_mean"] for at in (0, -1))
        assert (norm.running_mean - torch.lerp(*ends, 0.5)).abs().max() > 1e-3

    def test_that_is_frozen_keeps_its_own(self, make_problem):
        problem = make_problem(
            backbone="test_resnet", stages=["0:1:1e-2", "1:1:1e-2:bn=frozen"], wise_ft=0.5
        )
        found, states = train(problem)
        for name in (n for n in states[0] if "running" in n):
            assert torch.equal(found.weights[name], states[0][name])


def test_without_a_trained_head_to_begin_with_it_is_refused(make_problem):
    with pytest.raises(UserError, match=r"--wise-ft 0.5: needs pretrained weights, and --stages"):
        make_problem(stages=["1:2:1e-3"], wise_ft=0.5)
