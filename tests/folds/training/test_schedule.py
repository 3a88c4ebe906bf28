import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.config.optim import OptimConfig
from folds.config.stages import Stage, StagePosition
from folds.training.schedule import LOW, epoch_rates, reductions

LAW = settings(max_examples=60)
STAGE = st.builds(Stage, st.just(1.0), st.integers(1, 20), st.floats(1e-12, 1e3))
STEPS = st.integers(1, 20)
NAMES = ["cosine", "constant", "restarts", "plateau", "onecycle"]


def rates(name, stage, steps, scores=(), **changes):
    """All of a stage, an epoch after the other."""
    config = OptimConfig(schedule=name, **changes)
    return [
        epoch_rates(config, StagePosition(0, stage, epoch), steps, scores[:epoch])
        for epoch in range(stage.epochs)
    ]


def flat(epochs):
    return [rate for epoch in epochs for rate in epoch]


@LAW
@given(STAGE, STEPS, st.sampled_from(NAMES))
def test_rates_are_above_zero_and_at_most_the_stages(stage, steps, name):
    found = rates(name, stage, steps)
    assert [len(epoch) for epoch in found] == [steps] * stage.epochs
    assert all(0 < rate <= stage.learning_rate for rate in flat(found))


@LAW
@given(STAGE, STEPS)
def test_cosine_starts_at_the_stages_and_falls_towards_zero(stage, steps):
    found = flat(rates("cosine", stage, steps))
    assert found[0] == stage.learning_rate
    assert all(late < early for early, late in itertools.pairwise(found))


def test_cosine_is_torchs():
    found = flat(rates("cosine", Stage(1, 3, 0.5), 7))
    assert found == pytest.approx(of_torch(torch.optim.lr_scheduler.CosineAnnealingLR, 0.5, 21, 21))


def test_restarts_are_torchs():
    found = flat(rates("restarts", Stage(1, 6, 0.5), 4, restart_epochs=2))
    kind = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts
    assert found == pytest.approx(of_torch(kind, 0.5, 24, 8))


def of_torch(kind, rate, steps, *options):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    scheduler = kind(optimizer, *options)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_a_stage_shorter_than_a_period_is_one_cosine():
    stage = Stage(1, 2, 0.5)
    assert rates("restarts", stage, 5, restart_epochs=9) == rates("cosine", stage, 5)


@LAW
@given(st.integers(1, 30), st.integers(1, 12), st.integers(2, 20))
def test_restarts_end_at_the_bottom_wherever_a_stage_ends(epochs, period, steps):
    """A refit's last stage ends where the folds' best epochs were, seldom with a period."""
    found = flat(rates("restarts", Stage(1, epochs, 0.5), steps, restart_epochs=period))
    begins = [step for step, rate in enumerate(found) if rate == 0.5]
    whole, last = begins[:-1], len(found) - begins[-1]
    assert begins == [number * period * steps for number in range(len(begins))]
    assert found[-1] == rates("cosine", Stage(1, last // steps, 0.5), steps)[-1][-1]
    assert last <= 1.5 * period * steps
    assert not whole or last >= 0.5 * period * steps
    assert found[-1] <= 0.25 * (1 + math.cos(math.pi * (1 - 1 / last))) + 1e-12


def test_a_shortened_last_period_is_as_long_as_is_left():
    begins = {
        epochs: [
            epoch
            for epoch, (first, *_) in enumerate(
                rates("restarts", Stage(1, epochs, 0.5), 4, restart_epochs=3)
            )
            if first == 0.5
        ]
        for epochs in (2, 3, 4, 5, 6, 7, 8)
    }
    assert begins == {2: [0], 3: [0], 4: [0], 5: [0, 3], 6: [0, 3], 7: [0, 3], 8: [0, 3, 6]}


def test_constant_is():
    assert set(flat(rates("constant", Stage(1, 3, 0.5), 4))) == {0.5}


@LAW
@given(st.integers(2, 20), st.integers(3, 20))
def test_one_cycle_goes_up_and_down(epochs, steps):
    found = flat(rates("onecycle", Stage(1, epochs, 0.5), steps))
    top = found.index(max(found))
    assert found[0] == pytest.approx(0.5 * LOW)
    assert top == pytest.approx(0.3 * len(found), abs=1.01)
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)
    assert found[-1] < 0.5 * found[top]


@LAW
@given(
    st.lists(st.integers(0, 5).map(lambda n: n / 5), max_size=30),
    st.integers(1, 4),
)
def test_plateau_is_torchs(scores, patience):
    """Of whose patience the last epoch is the one after."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "max", 0.5, patience - 1, threshold=0, eps=0
    )
    config = OptimConfig(schedule="plateau", plateau_patience=patience, plateau_factor=0.5)
    now = StagePosition(0, Stage(1, 99, 1.0), 0)
    for epoch, score in enumerate(scores):
        theirs.step(score)
        (rate,) = epoch_rates(config, now, 1, scores[: epoch + 1])
        assert rate == optimizer.param_groups[0]["lr"]


def test_plateau_waits_for_its_patience():
    config = OptimConfig(plateau_patience=2)
    scores = [0.5, 0.6, 0.6, 0.5, 0.7, 0.1, 0.1, 0.1, 0.1]
    found = [reductions(config, scores[:n]) for n in range(len(scores) + 1)]
    assert found == [0, 0, 0, 0, 1, 1, 1, 2, 2, 3]


def test_cosine_is_half_in_the_middle():
    found = rates("cosine", Stage(1, 2, 0.5), 9)
    assert math.isclose(found[1][0], 0.25)
