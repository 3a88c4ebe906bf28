"""The learning rate of each step: a function of the stage, the step and past validation scores."""

import math
from collections.abc import Sequence

from folds.config.optim import OptimConfig
from folds.config.stages import StagePosition

RISE = 0.3  # share of a one-cycle stage in which the rate goes up
LOW, LOWEST = 1 / 25, 1 / 250_000  # rates at the ends of a one-cycle stage, as torch's OneCycleLR


def epoch_rates(
    settings: OptimConfig, position: StagePosition, steps: int, scores: Sequence[float]
) -> list[float]:
    """Learning rates of an epoch's steps.

    Parameters
    ----------
    position : StagePosition
        The epoch's place in the stages.
    steps : int
        Steps an epoch.
    scores : sequence of float
        Values of ``--select-by`` of the stage's earlier epochs, which ``plateau`` looks at.

    Returns
    -------
    list of float, length steps

    References
    ----------
    Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017.
    Smith and Topin, Super-Convergence, 2018.
    """
    top, epochs = position.stage.learning_rate, position.stage.epochs
    match settings.schedule:
        case "constant":
            return [top] * steps
        case "plateau":
            return [top * settings.plateau_factor ** reductions(settings, scores)] * steps
        case "onecycle":
            return [top * _one_cycle(d) for d in _done(position.epoch, epochs, steps)]
        case "restarts":
            epoch, period = _period(position.epoch, epochs, settings.restart_epochs)
            return [_cosine(top, d) for d in _done(epoch, period, steps)]
        case _:
            return [_cosine(top, d) for d in _done(position.epoch, epochs, steps)]


def reductions(settings: OptimConfig, scores: Sequence[float]) -> int:
    """How often a plateau has been reached in the epochs of a stage with these scores."""
    best, waited, reached = None, 0, 0
    for score in scores:
        waited += 1
        if best is None or score > best:
            best, waited = score, 0
        elif waited == settings.plateau_patience:
            waited, reached = 0, reached + 1
    return reached


def _period(epoch: int, epochs: int, period: int) -> tuple[int, int]:
    """Where an epoch lies in its period, and how long that is.

    The last period is as long as is left, from a half of the others to one and a half, so that
    the rate is at its bottom when the stage ends.
    """
    last = max(1, (epochs + period // 2) // period) - 1  # the nearest number of periods
    number = min(epoch // period, last)
    return epoch - number * period, epochs - last * period if number == last else period


def _done(epoch: int, epochs: int, steps: int) -> list[float]:
    """Share of some epochs that is done before each step of one of them."""
    return [(epoch * steps + step) / (epochs * steps) for step in range(steps)]


def _cosine(top: float, done: float) -> float:
    """From `top` towards 0."""
    return top * 0.5 * (1 + math.cos(math.pi * done))


def _one_cycle(done: float) -> float:
    """From `LOW` up to 1 and down towards `LOWEST`, each half a cosine."""
    if done < RISE:
        return 1 - _cosine(1 - LOW, done / RISE)
    return LOWEST + _cosine(1 - LOWEST, (done - RISE) / (1 - RISE))
