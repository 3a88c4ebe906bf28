"""Learning-rate range tests."""

import numpy as np
import pytest
import torch

from folds.config.stages import Stage
from folds.runtime.device import Runtime
from folds.runtime.workers import Workers
from folds.training import lr_find
from folds.training.context import fold_context
from folds.training.fit import first_state
from folds.training.frozen import no_frozen_features
from folds.training.lr_find import RATES, Curve, find_rates, smoothed, table

CPU = Runtime.choose("cpu", "fp32")
STAGE = Stage(0.5, 3, 1e-4, norm="frozen")
PLACE = np.log10(RATES)


def falling(at, noise=0.0):
    """A loss that falls around a rate and rises behind it."""
    losses = 2 - 1.5 / (1 + np.exp(-3 * (PLACE - np.log10(at)))) + np.maximum(0, PLACE + 0.5) * 4
    return losses + noise * np.random.default_rng(0).standard_normal(len(losses))


class TestCurve:
    @pytest.mark.parametrize("at", [1e-5, 1e-4, 1e-3, 1e-2])
    @pytest.mark.parametrize("noise", [0, 0.05])
    def test_its_steepest_rate_is_where_the_loss_falls(self, at, noise):
        curve = Curve(STAGE, falling(at, noise))
        assert abs(np.log10(curve.steepest / at)) < 0.5
        assert curve.steepest < RATES[curve.lowest]

    @pytest.mark.parametrize(
        "losses",
        [np.ones(100), 1 - np.arange(100) / 2e4, np.linspace(1, 4, 60), np.array([]), np.ones(3)],
    )
    def test_one_that_never_falls_keeps_its_rate(self, losses):
        curve = Curve(STAGE, losses)
        assert curve.steepest is None
        assert curve.proposed == STAGE

    def test_smoothing_has_no_bias_and_keeps_what_is_constant(self):
        np.testing.assert_allclose(smoothed(np.full(20, 3.0)), 3)
        assert smoothed([5.0, 1.0])[0] == 5


class TestTable:
    def test_fits_80_columns_and_ends_with_the_flag(self):
        curves = [Curve(Stage(0, 3, 1e-3), falling(1e-2)), Curve(STAGE, falling(1e-3)[:80]),
                  Curve(Stage(1 / 3, 10, 1.25e-4, norm="train"), np.array([]))]  # fmt: skip
        *lines, flag = table(curves)
        assert max(map(len, lines)) <= 80
        assert len(lines) == 4
        name, *stages = flag.split(" ")
        assert name == "--stages"
        assert [Stage.parse(word) for word in stages] == [curve.proposed for curve in curves]


class TestFindRates:
    def test_is_the_same_twice_and_proposes_other_rates(self, make_problem):
        problem = make_problem(stages=["0:2:1e-6", "1:2:1e-7"], warmup=1.0, dropout=0.3)
        one, two = (find_rates(problem, 0, 0, CPU) for _ in range(2))
        assert [curve.stage for curve in one] == list(problem.stages)
        for curve, again in zip(one, two, strict=True):
            assert np.array_equal(curve.losses, again.losses)
            assert np.isfinite(curve.losses).all()
        assert one[0].steepest > 1e-5

    def test_puts_weights_back_and_trains_an_epoch_at_the_rate_that_was_found(
        self, make_problem, monkeypatch
    ):
        problem = make_problem(stages=["0:2:1e-6", "1:2:1e-7"], ema=0.9)
        context = fold_context(problem, 0, 0, CPU, Workers(), no_frozen_features)
        first, seen = first_state(context), []

        def watched(context, state, wrapped, position):
            seen.append(position.stage.learning_rate)
            own = state.model.state_dict()
            assert all(torch.equal(t, own[name]) for name, t in first.model.state_dict().items())
            assert all(torch.equal(t, own[name]) for name, t in state.average.items())
            assert not state.optimizer.state

        monkeypatch.setattr(lr_find, "train_epoch", watched)
        curves = find_rates(problem, 0, 0, CPU)
        assert seen == [curves[0].steepest]

    @pytest.mark.parametrize("end", [100.0, np.nan, np.inf])
    def test_stops_where_the_loss_diverges(self, make_problem, monkeypatch, end):
        left = iter([*[1.0] * 20, *[end] * 20])
        monkeypatch.setattr(lr_find, "_losses", lambda *given: left)
        (curve,) = find_rates(make_problem(stages=["0:1:1e-3"]), 0, 0, CPU)
        assert len(curve.losses) == 20 + (end == 100)
        assert np.isfinite(curve.losses).all()
