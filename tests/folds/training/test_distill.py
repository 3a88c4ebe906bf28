"""A student of the folds' models: who teaches what, and that it is learnt."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from folds.model.backbone import build
from folds.runtime.device import Runtime
from folds.runtime.workers import Workers
from folds.training.context import fold_context
from folds.training.epoch import _losses
from folds.training.fit import fit_fold
from folds.training.losses import taught_losses
from folds.training.mixed_batches import Batch
from folds.training.predict import predict
from folds.training.refit import RefitPlan, Teachers

CPU = Runtime.choose("cpu", "fp32")


def told(rows, probabilities):
    """What is asked of a fold's outcome."""
    history = (SimpleNamespace(learning_rate=1e-3),)
    return SimpleNamespace(
        rows=np.array(rows), probabilities=np.float32(probabilities), kept_epoch=0,
        averaged=False, history=history,
    )  # fmt: skip


def place_of(problem, plan):
    fold = problem.splits.folds
    return fold_context(problem, 0, fold, CPU, Workers(), lambda view: None, plan)


class TestTeachers:
    def test_say_of_each_image_what_those_say_that_have_not_seen_it(self):
        first = [told([1, 4], [[0.9, 0.1], [0.2, 0.8]]), told([0, 2], [[0.5, 0.5], [0.3, 0.7]])]
        again = [told([0, 4], [[0.7, 0.3], [0.4, 0.6]])]  # of a second repeat
        plan = RefitPlan.of([*first, *again], 0.7)
        assert plan.teachers.share == 0.7
        assert plan.teachers.rows.tolist() == [0, 1, 2, 4]
        wanted = [[0.6, 0.4], [0.9, 0.1], [0.3, 0.7], [0.3, 0.7]]
        np.testing.assert_allclose(plan.teachers.probabilities, wanted, atol=1e-6)

    def test_there_are_none_unless_they_are_asked_for(self, make_problem):
        plan = RefitPlan.of([told([0], [[1.0, 0.0, 0.0]])])
        assert plan.teachers is None
        assert place_of(make_problem(), plan).taught is None


class TestLoss:
    @pytest.mark.parametrize("share", [0.3, 1.0])
    def test_is_cross_entropy_against_the_blend_of_both_targets(self, make_problem, share):
        problem = make_problem(label_smoothing=0.1, class_weights="class1=3")
        generator = torch.Generator().manual_seed(0)
        said = torch.rand(3, 3, generator=generator).softmax(1)
        teachers = Teachers(share, np.array([5, 7, 8]), said.numpy())
        place = place_of(problem, RefitPlan(1, False, teachers=teachers))
        rows, logits = torch.tensor([5, 6, 7]), torch.randn(3, 3, generator=generator)
        hot = torch.nn.functional.one_hot(place.labels[rows], 3) * 0.9 + 0.1 / 3
        blend = share * said[:2] + (1 - share) * hot[[0, 2]]
        wanted = torch.nn.functional.cross_entropy(
            logits, torch.stack([blend[0], hot[1], blend[1]]), reduction="none"
        )
        found = _losses(place, logits, Batch(rows, logits))
        assert_close(found, wanted * place.weights[place.labels[rows]])

    def test_is_least_where_the_answer_is_the_teachers(self):
        taught = torch.tensor([[0.2, 0.3, 0.5]])
        logits = taught.log().requires_grad_()
        (slope,) = torch.autograd.grad(taught_losses(torch.ones(1), logits, taught).sum(), logits)
        assert_close(slope, torch.zeros(1, 3), atol=1e-6, rtol=0)


class TestStudent:
    def trained(self, problem, teachers):
        epochs = problem.stages[0].epochs
        plan = RefitPlan(epochs, False, teachers=teachers)
        result = fit_fold(problem, 0, problem.splits.folds, runtime=CPU, refit=plan)
        place = place_of(problem, plan)
        model = build("test_resnet", classes=3, size=32, dropout=0.0, pretrained=None, seed=0)
        model.load_state_dict(result.weights)
        return result, predict(place, model.eval(), place.pixels, place.train)

    def test_learns_what_it_is_told_and_not_the_labels(self, make_problem):
        problem = make_problem(
            backbone="test_resnet", stages=["1:12:3e-3"], augment="none", label_smoothing=0.0
        )
        labels = problem.images.labels
        others = np.eye(3, dtype=np.float32)[(labels + 1) % 3]  # each class under another name
        rows = np.arange(len(labels))
        _, found = self.trained(problem, Teachers(1.0, rows, others))
        assert (found.argmax(1) == (labels + 1) % 3).mean() > 0.9

    def test_of_nobody_is_a_refit(self, make_problem):
        problem = make_problem(backbone="test_resnet", stages=["1:6:3e-3"])
        nobody = Teachers(0.5, np.zeros(0, np.int64), np.zeros((0, 3), np.float32))
        one, two = (self.trained(problem, teachers)[0] for teachers in (None, nobody))
        assert all(torch.equal(t, two.weights[name]) for name, t in one.weights.items())
