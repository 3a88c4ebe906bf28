"""One answer to several views of an image: the term, the views, and when it is asked for."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from torch.testing import assert_close

from folds.augment import augment, to_input
from folds.config import Config
from folds.config.stages import Stage, StagePosition
from folds.errors import UserError
from folds.model.backbone import build
from folds.runtime.device import Runtime
from folds.runtime.workers import Workers
from folds.sampling import uniform_table
from folds.training import epoch
from folds.training.consistency import disagreement
from folds.training.context import fold_context
from folds.training.fit import fit_fold
from folds.training.frozen import shareable_views
from folds.training.frozen_view import PLAIN
from folds.training.inputs import training_inputs
from folds.training.mixed_batches import Batch

CPU = Runtime.choose("cpu", "fp32")
WHOLE = Stage(1.0, 1, 1e-3)


def train(problem):
    return fit_fold(problem, 0, 0, runtime=CPU)


def batches(problem):
    context = fold_context(problem, 0, 0, CPU, Workers(), lambda view: None)
    options = {"classes": 3, "size": 32, "dropout": 0.0, "pretrained": None, "seed": 0}
    model = build("test_vit", **options)
    inputs = training_inputs(context, model, StagePosition(0, WHOLE, 0), 0)
    return context, [batch for step in inputs for batch in step]


class TestDisagreement:
    def test_of_two_views_is_scipys_divergence(self):
        logits = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0))
        one, two = logits.softmax(2).double().numpy()
        found = disagreement(logits)
        np.testing.assert_allclose(found, jensenshannon(one, two, axis=1) ** 2, atol=1e-6)

    @given(seed=st.integers(0, 999), views=st.integers(2, 4), size=st.floats(0, 200))
    def test_lies_between_0_and_the_logarithm_of_the_views(self, seed, views, size):
        generator = torch.Generator().manual_seed(seed)
        logits = (size * torch.randn(views, 5, 3, generator=generator)).requires_grad_()
        found = disagreement(logits)
        assert -1e-6 <= found.min() <= found.max() <= math.log(views) + 1e-5
        (slope,) = torch.autograd.grad(found.sum(), logits)
        assert torch.isfinite(slope).all()
        assert_close(disagreement(logits[:1].expand(3, -1, -1)), torch.zeros(5), atol=1e-6, rtol=0)


class TestViews:
    def test_are_the_plain_one_and_that_of_another_table(self, make_problem):
        problem = make_problem(augment="light", consistency=1, stages=["1:1:1e-3"])
        _context, found = batches(problem)
        tables = [
            uniform_table(0, 0, len(problem.images), problem.policy.columns, second=second)
            for second in (False, True)
        ]
        assert not np.array_equal(*tables)
        for batch in found:
            pixels = torch.from_numpy(problem.images.pixels[batch.rows.numpy()])
            own, other = (
                augment(pixels, t[batch.rows.numpy()], problem.policy, 32) for t in tables
            )
            assert torch.equal(batch.inputs, own)
            assert torch.equal(batch.views, torch.cat([to_input(pixels, 32), other]))

    def test_are_never_mixed(self, make_problem):
        problem = make_problem(augment="cutmix", consistency=1, stages=["1:1:1e-3"])
        _, found = batches(problem)
        for batch in found:
            plain = to_input(torch.from_numpy(problem.images.pixels[batch.rows.numpy()]), 32)
            assert torch.equal(batch.views, torch.cat([plain, plain]))
            assert not torch.equal(batch.inputs, plain)

    def test_lose_the_same_features_to_dropout(self):
        rows = torch.arange(4)
        batch = Batch(rows, torch.zeros(4, 1), rows + 7, views=torch.ones(8, 1))
        inputs, draws = batch.seen
        assert inputs.flatten().tolist() == [0] * 4 + [1] * 8
        assert draws.tolist() == [7, 8, 9, 10] * 3


class TestTerm:
    def test_is_a_mean_over_the_batch_but_for_images_of_two_labels(self, make_problem):
        problem = make_problem(consistency=2.0, batch_size=4, label_smoothing=0.0)
        context = fold_context(problem, 0, 0, CPU, Workers(), lambda view: None)
        state = type("State", (), {"scaler": CPU.scaler()})
        rows = torch.from_numpy(context.train[:4])
        logits = torch.randn(12, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
        images, views = torch.zeros(4, 3, 1, 1), torch.zeros(8, 3, 1, 1)
        shares = torch.tensor([1.0, 0.3, 1.0, 0.6])
        batch = Batch(rows, images, rows, rows, shares, views)
        epoch._backward(context, state, (logits, torch.zeros(12, 5)), batch)
        own = torch.nn.functional.cross_entropy(logits[:4], context.labels[rows])
        apart = disagreement(logits.view(3, 4, 3))
        wanted = own + 2.0 * (apart[0] + apart[2]) / 4
        assert_close(logits.grad, torch.autograd.grad(wanted, logits)[0])

    def test_acts_where_the_backbone_trains_alone(self, make_problem):
        plain, other = (
            train(make_problem(stages=["0:1:1e-3", "1:2:1e-3"], consistency=weight)).history
            for weight in (0.0, 5.0)
        )
        assert plain[0].train_loss == other[0].train_loss
        assert plain[2].train_loss != other[2].train_loss

    def test_brings_the_answers_to_views_together(self, make_problem):
        settings = {"stages": ["1:8:3e-3"]}
        settings |= dict.fromkeys(["augment", "val_augment"], "light+channel_shuffle")
        apart = []
        for weight in (0.0, 20.0):
            found = train(make_problem(consistency=weight, **settings))
            pair = np.stack([found.probabilities, found.other_views["augmented"]])
            apart.append(float(disagreement(torch.from_numpy(pair).log()).mean()))
        assert apart[1] < 0.1 * apart[0]


class TestSharing:
    def test_frozen_features_are_shared_until_the_backbone_trains(self, make_problem):
        model = build(
            "test_resnet", classes=3, size=32, dropout=0.0, pretrained=None, seed=7
        ).backbone
        found = shareable_views(
            make_problem(
                backbone="test_resnet", pretrained=model.state_dict(), consistency=1,
                stages=["0:2:1e-3", "0.3:2:1e-3"],
            ),
            10**9,
        )  # fmt: skip
        assert [view.epoch for view in found] == [PLAIN, 0, 1, PLAIN]


def test_without_augmentation_it_is_refused():
    with pytest.raises(UserError, match="--consistency 12: needs an --augment other than none"):
        Config.from_flat({"consistency": 12, "augment": "none"})
