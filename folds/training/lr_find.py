"""Learning-rate range test: each stage is trained at rates that rise, and its loss is watched.

The weights are put back after each test. Before the next stage is tested an epoch is trained at the
rate that was found, so blocks are unfrozen behind a head that has learnt something.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from torch import nn

from folds.arrays import Doubles
from folds.config.stages import Stage, StagePosition
from folds.model.blocks import layer_groups
from folds.model.layer_groups import set_scales, train_mode
from folds.runtime.device import Runtime
from folds.runtime.workers import Workers
from folds.sampling import model_seed
from folds.training.checkpoint import FoldState, dump, restore
from folds.training.context import FoldContext, fold_context
from folds.training.epoch import step_gradients, train_epoch
from folds.training.fit import enter_stage, first_state
from folds.training.frozen import no_frozen_features
from folds.training.inputs import training_inputs
from folds.training.optim import update
from folds.training.problem import Problem

RATES = np.geomspace(1e-7, 10, 100)
STOP = 4  # times the lowest loss: there a test ends
_SKIPPED = 10  # steps at the beginning, in which nothing is learnt yet
_FALL = 0.99  # of the first loss; one that does not come below has not fallen
_KEPT = 0.9  # share of a smoothed loss that stays from step to step
_LEVELS, _BINS = "▁▂▃▄▅▆▇█", 16


@dataclass(frozen=True)
class Curve:
    """What the test of a stage gave.

    Parameters
    ----------
    stage : Stage
    losses : ndarray of float64, shape (S,)
        Of the batches at the first S of `RATES`, all finite.
    """

    stage: Stage
    losses: Doubles

    @property
    def smooth(self) -> Doubles:
        """The losses (S,), those above the first ones cut, smoothed exponentially from both sides.

        From one side the curve would lag behind by most of a decade, and what diverges at its end
        would hide where it was lowest.
        """
        cut = np.minimum(self.losses, self.losses[:_SKIPPED].mean())
        return smoothed(smoothed(cut)[::-1])[::-1]

    @property
    def lowest(self) -> int:
        """Number of the step at which the smoothed loss is lowest."""
        return int(self.smooth.argmin())

    @property
    def steepest(self) -> float | None:
        """The rate at which the loss falls fastest before it is lowest; None if it never does."""
        if len(self.losses) <= _SKIPPED or self.lowest <= _SKIPPED:
            return None
        smooth = self.smooth
        if smooth.min() > _FALL * smooth[0]:
            return None
        slopes = np.gradient(smooth, np.log(RATES[: len(smooth)]))
        return float(f"{RATES[_SKIPPED + slopes[_SKIPPED : self.lowest].argmin()]:.1e}")

    @property
    def proposed(self) -> Stage:
        """The stage at this rate, or as it is."""
        return replace(self.stage, learning_rate=self.steepest or self.stage.learning_rate)


def find_rates(problem: Problem, repeat: int, fold: int, runtime: Runtime) -> list[Curve]:
    """Test each stage of a schedule on the training part of a fold.

    Parameters
    ----------
    repeat, fold : int
        Which one.

    Returns
    -------
    list of Curve
        One a stage.

    Raises
    ------
    DivergenceError
        The loss between two tests is no finite number.

    Notes
    -----
    Equal problems give equal curves, on one machine.

    References
    ----------
    Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017.
    """
    context = fold_context(problem, repeat, fold, runtime, Workers(), no_frozen_features)
    state = first_state(context)
    curves: list[Curve] = []
    for index, stage in enumerate(problem.stages):
        position = StagePosition(index, stage, 0)
        wrapped = enter_stage(context, state, position)
        before = dump(state)
        curves.append(Curve(stage, _tested(context, state, wrapped, position)))
        restore(state, before)
        if index + 1 < len(problem.stages):
            train_epoch(context, state, wrapped, replace(position, stage=curves[-1].proposed))
            state.epoch += 1
    return curves


def _tested(
    context: FoldContext, state: FoldState, wrapped: nn.Module, position: StagePosition
) -> Doubles:
    """Losses (S,) at the first of `RATES`, up to where they diverge."""
    losses: list[float] = []
    for loss in _losses(context, state, wrapped, position):
        if not math.isfinite(loss):
            break
        losses.append(loss)
        smooth = smoothed(losses)
        if smooth[-1] > STOP * smooth.min():
            break
    return np.array(losses)


def _losses(
    context: FoldContext, state: FoldState, wrapped: nn.Module, position: StagePosition
) -> Iterator[float]:
    """Train a step at each of `RATES`, in as many epochs as that takes; gives their losses."""
    problem, config = context.problem, context.problem.config
    seed = model_seed(config.split.seed, context.repeat, context.number)
    groups = len(layer_groups(state.model.backbone))
    train_mode(state.model, position.stage, config.train.frozen_norm)
    rates = iter(enumerate(RATES))
    for epoch in count(state.epoch):
        inputs = training_inputs(context, state.model, position, epoch)
        for rows, microbatches in zip(inputs.rows, inputs, strict=True):
            if (step := next(rates, None)) is None:
                return
            loss = step_gradients(context, state, wrapped, seed + epoch, inputs, microbatches)
            set_scales(state.optimizer, groups, problem.stages, position, math.inf, config)
            update(state, config.optim, float(step[1]), step[0])
            yield float(loss) / context.balance.weights[problem.images.labels[rows]].mean()


def smoothed(losses: Sequence[float] | Doubles) -> Doubles:
    """Exponential moving average of losses (S,), without the bias of its beginning."""
    averages, total = [], 0.0
    for number, loss in enumerate(losses, start=1):
        total = _KEPT * total + (1 - _KEPT) * loss
        averages.append(total / (1 - _KEPT**number))
    return np.array(averages)


def table(curves: Sequence[Curve]) -> list[str]:
    """Curves as lines of at most 80 columns, and behind them the flag to train with."""
    lines = [f"{'stage':<28}{'steepest':>9}{'lowest':>9}{'loss':>15}  rates from {RATES[0]:.0e}"]
    for curve in curves:
        if not len(curve.losses):
            lines.append(f"{curve.stage!s:<28}{'none':>9}")
            continue
        smooth, rate = curve.smooth, curve.steepest
        steepest = "none" if rate is None else f"{rate:.1e}"
        loss = f"{smooth[0]:.3f} to {smooth.min():.3f}"
        lowest = f"{RATES[curve.lowest]:.1e}"
        lines.append(f"{curve.stage!s:<28}{steepest:>9}{lowest:>9}{loss:>15}  {_drawn(smooth)}")
    return [*lines, f"--stages {' '.join(str(curve.proposed) for curve in curves)}"]


def _drawn(smooth: Doubles) -> str:
    """A curve as a row of blocks, the full one being its first loss and all above."""
    place = np.arange(len(smooth)) * _BINS // len(RATES)
    each = np.array([smooth[place == number].mean() for number in np.unique(place)])
    low, high = float(smooth.min()), float(smooth[0])
    height = np.clip((each - low) / max(high - low, 1e-12), 0, 1)
    return "".join(_LEVELS[round(part * (len(_LEVELS) - 1))] for part in height.tolist())
