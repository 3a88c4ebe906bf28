"""Batches in parts have the gradients of whole ones; parts and rates as far as they may go."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from folds.runtime.device import Runtime
from folds.training import epoch as epoch_module
from folds.training.attempt import FIRST, Attempt
from folds.training.fit import fit_fold
from folds.training.parts import smaller, trains_batch_norm
from folds.training.retries import divergence_cause, memory_cause

CPU = Runtime.choose("cpu", "fp32")
NORM = {"head_layers": [8], "head_norm": "batch"}


def gradients(problem, attempt, monkeypatch):
    """Of each parameter, before the first update; and what the epoch reports."""
    found = {}

    def update(state, *_):
        if not found:
            found.update(
                (name, p.grad.clone() / state.scaler.get_scale())
                for name, p in state.model.named_parameters()
                if p.grad is not None
            )
        state.optimizer.zero_grad(set_to_none=True)

    monkeypatch.setattr(epoch_module, "update", update)
    (report,) = fit_fold(problem, 0, 0, runtime=CPU, attempt=attempt).history
    return found, report


class TestParts:
    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        batch=st.integers(2, 24),
        parts=st.integers(2, 24),
        accumulate=st.integers(1, 3),
        ways=st.fixed_dictionaries(
            {
                "backbone": st.just("test_vit"),
                "head_layers": st.sampled_from([[], [8]]),
                "head_norm": st.sampled_from(["none", "layer"]),
                "dropout": st.sampled_from([0.0, 0.4]),
                "augment": st.sampled_from(["none", "light", "light+cutmix", "light+mixup"]),
                "loss": st.sampled_from(["ce", "focal"]),
                "label_smoothing": st.sampled_from([0.0, 0.1]),
                "balance": st.sampled_from(["none", "weights", "oversample"]),
                "stages": st.sampled_from([["1:1:1e-3"], ["0:1:1e-3"], ["0.5:1:1e-3"]]),
            }
        ),
        weights=st.none() | st.floats(0.1, 10).map(lambda weight: {"class1": weight}),
    )
    def test_have_the_gradients_of_the_whole(
        self, make_problem, monkeypatch, batch, parts, accumulate, ways, weights
    ):
        ways = ways | ({"class_weights": weights, "balance": "none"} if weights else {})
        problem = make_problem(
            batch_size=batch, accumulate=min(accumulate, batch), precision="fp32", **ways
        )
        attempt = Attempt(parts=min(parts, batch))
        whole, report = gradients(problem, FIRST, monkeypatch)
        found, again = gradients(problem, attempt, monkeypatch)
        assert whole.keys() == found.keys()
        top = max(float(gradient.abs().max()) for gradient in whole.values())
        for name, gradient in whole.items():
            torch.testing.assert_close(found[name], gradient, atol=1e-5 * top + 1e-9, rtol=1e-4)
        assert again.train_loss == pytest.approx(report.train_loss, rel=1e-5)

    def test_are_those_of_accumulate_to_the_last_bit(self, make_problem):
        ways = {"dropout": 0.3, "ema": 0.9, "clip_grad": 0.5, "stages": ["1:2:1e-3"]}
        told = fit_fold(make_problem(accumulate=4, **ways), 0, 0, runtime=CPU)
        tried = fit_fold(make_problem(**ways), 0, 0, runtime=CPU, attempt=Attempt(parts=4))
        for name, tensor in told.weights.items():
            assert torch.equal(tensor, tried.weights[name])
        again = fit_fold(make_problem(accumulate=4, **ways), 0, 0, runtime=CPU, attempt=Attempt(2))
        assert torch.equal(told.weights[name], again.weights[name])

    @pytest.mark.parametrize("workers", [1, 2, 3])
    @pytest.mark.parametrize(
        ("ways", "fewest"),
        [({}, 1), (NORM, 2), (NORM | {"sync_bn": True}, None), ({"accumulate": 3}, 1)],
    )
    def test_are_halved_down_to_what_can_be_trained_on(self, make_problem, workers, ways, fewest):
        problem = make_problem(batch_size=13, **ways)
        fewest = fewest or (1 if workers > 1 else 2)
        attempt, seen = FIRST, []
        while (attempt := smaller(problem, workers, attempt)) is not None:
            seen.append(attempt.parts)
        first = ways.get("accumulate", 1)
        assert seen[-1] == 13 // (fewest * workers)
        for before, after in zip([first, *seen], seen, strict=False):
            assert before < after <= 2 * before

    def test_of_triplets_there_are_none(self, make_problem):
        problem = make_problem(triplet=0.5)
        assert smaller(problem, 1, FIRST) is None
        assert "--triplet needs whole batches" in memory_cause(problem, FIRST, None, "full")

    def test_is_told_where_batch_norm_learns_from_them(self, make_problem):
        backbone = {"backbone": "test_resnet"}
        for ways, learns in [
            ({}, False), (NORM, True), (backbone, True),
            (backbone | {"stages": ["0:1:1e-2"]}, False),
            (backbone | {"stages": ["0:1:1e-2", "1:1:1e-2:bn=frozen"]}, False),
        ]:  # fmt: skip
            problem = make_problem(**ways)
            assert trains_batch_norm(problem) is learns
            told = memory_cause(problem, FIRST, Attempt(parts=4), "full")
            assert ("batch norm sees only a part" in told) is learns
            assert "each batch of 16 computed in 4 parts" in told


class TestRate:
    def test_is_halved_twice(self):
        second = Attempt(parts=8).slower()
        third = second.slower()
        assert (second, third) == (Attempt(8, 0.5), Attempt(8, 0.25))
        assert third.slower() is None
        assert "goes on from its last checkpoint with 0.5" in divergence_cause(second, "nan")
        assert "nor did 0.25 of the learning rates help" in divergence_cause(None, "nan")

    @pytest.mark.parametrize("schedule", ["cosine", "onecycle", "constant", "plateau"])
    def test_counts_in_every_step(self, make_problem, schedule, monkeypatch):
        seen = {}

        def noted(state, settings, rate, number):
            seen.setdefault(number, []).append(rate)
            state.optimizer.zero_grad(set_to_none=True)

        monkeypatch.setattr(epoch_module, "update", noted)
        problem = make_problem(schedule=schedule)
        for attempt in (FIRST, Attempt(rate=0.25)):
            history = fit_fold(problem, 0, 0, runtime=CPU, attempt=attempt).history
        for whole, lower in seen.values():
            assert lower == 0.25 * whole
        assert history[-1].learning_rate == 0.25 * problem.stages[1].learning_rate * _shape(
            schedule, history[-1].epoch
        )


def _shape(schedule, epoch):
    """Factor of the first step of the last epoch on the stage's rate."""
    from folds.config.stages import Stage, StagePosition
    from folds.training.schedule import epoch_rates

    stage = Stage(1, 2, 1.0)
    settings = SimpleNamespace(
        schedule=schedule, plateau_factor=0.5, plateau_patience=5, restart_epochs=1
    )
    position = StagePosition(1, stage, epoch - 1)
    return epoch_rates(settings, position, 2, [])[0]
