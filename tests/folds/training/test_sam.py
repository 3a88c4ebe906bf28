"""Sharpness-aware minimisation, held against its formula."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from folds.runtime.device import Runtime
from folds.training import epoch
from folds.training.fit import fit_fold
from folds.training.sam import steepest

CPU = Runtime.choose("cpu", "fp32")
START = {"stages": ["0:1:1e-3", "1:1:1e-3"], "optimizer": "sgd", "weight_decay": 0.0}


def train(problem):
    return fit_fold(problem, 0, 0, runtime=CPU)


class TestSteepest:
    @given(radius=st.floats(1e-3, 10), factor=st.floats(1e-6, 1e6))
    def test_is_a_radius_up_the_gradient_whatever_its_scale(self, radius, factor):
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        model[0].bias.requires_grad_(False)
        (factor * model(torch.ones(2, 3)).square().sum()).backward()
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        slopes = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        length = torch.cat([slope.flatten() for slope in slopes.values()]).norm()
        with steepest(model, radius):
            for name, p in model.named_parameters():
                way = radius * slopes[name] / length if name in slopes else torch.zeros_like(p)
                assert_close(p.detach(), before[name] + way, rtol=1e-4, atol=1e-5)
                assert p.grad is None
            model(torch.ones(2, 3)).sum().backward()
        assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
        assert model[1].weight.grad is not None

    def test_without_a_slope_stays(self):
        model = nn.Linear(2, 1)
        (0 * model(torch.ones(1, 2))).sum().backward()
        before = model.weight.detach().clone()
        with steepest(model, 1.0):
            assert torch.equal(model.weight, before)

    def test_batch_norm_that_trains_does_not_remember(self):
        model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.BatchNorm1d(3))
        model[2].eval()
        image = torch.rand(5, 2)
        model(image).sum().backward()
        before = [b.clone() for b in model.buffers()]
        with steepest(model, 1.0):
            model(image)
        assert all(torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))
        model(image)
        assert not torch.equal(before[0], model[1].running_mean)

    def test_weights_come_back_after_an_error(self):
        model = nn.Linear(2, 1)
        model(torch.ones(1, 2)).sum().backward()
        before = model.weight.detach().clone()
        with pytest.raises(ZeroDivisionError), steepest(model, 1.0):
            raise ZeroDivisionError
        assert torch.equal(model.weight, before)


class TestTraining:
    def test_each_batch_is_passed_twice_and_the_first_loss_is_told(self, make_problem, monkeypatch):
        calls, plain = [], epoch._backward

        def watched(context, state, output, batch):
            calls.append(batch.rows.tolist())
            return plain(context, state, output, batch)

        monkeypatch.setattr(epoch, "_backward", watched)
        found = train(make_problem(accumulate=2, sam=0.05, **START))
        pairs = [calls[first : first + 4] for first in range(0, len(calls), 4)]
        assert len(calls) == 2 * 2 * 4  # epochs, steps, and two microbatches twice
        assert all(four[:2] == four[2:] for four in pairs)
        other = train(make_problem(accumulate=2, **START))
        assert found.history[0].first_loss == other.history[0].first_loss
        assert found.history[1].train_loss != other.history[1].train_loss

    def test_a_tiny_radius_is_plain_training(self, make_problem):
        one, two = (train(make_problem(sam=radius, **START)) for radius in (0.0, 1e-6))
        for name, tensor in one.weights.items():
            assert_close(two.weights[name], tensor, atol=1e-5, rtol=0)
