"""Stopping a fold whose numbers have left the finite ones, with a likely cause and its remedy."""

import math

import numpy as np
import torch
from torch import Tensor

from folds.arrays import Floats
from folds.config.stages import StagePosition
from folds.errors import DivergenceError
from folds.training.checkpoint import FoldState
from folds.training.context import FoldContext


def check_losses(
    context: FoldContext, state: FoldState, position: StagePosition, losses: Tensor
) -> None:
    """Look at the losses (steps,) of an epoch, once it is over: to look earlier would wait.

    Raises
    ------
    DivergenceError
        One is no finite number; names the first step.
    """
    bad = (~torch.isfinite(losses)).nonzero()
    if not len(bad):
        return
    step = int(bad[0])
    before = float(losses[step - 1]) if step else math.nan
    raise DivergenceError(
        f"the loss became {float(losses[step])} at epoch {state.epoch + 1}, step {step + 1} "
        f"(the step before: {before:.4g}; {_cause(context, position)}"
    )


def check_logits(
    context: FoldContext, state: FoldState, position: StagePosition, logits: Floats
) -> None:
    """Look at the logits (V, C) of a network after an epoch.

    Raises
    ------
    DivergenceError
        They are no finite numbers: the last step broke the network, and no loss has told.
    """
    if not np.isfinite(logits).all():
        raise DivergenceError(
            f"the network's output is no finite number after epoch {state.epoch + 1} "
            f"({_cause(context, position)}"
        )


def _cause(context: FoldContext, position: StagePosition) -> str:
    """The likely cause and its remedy, as the end of a message with an open parenthesis."""
    precision, rate = context.runtime.precision, context.attempt.rate
    lowered = f" x {rate:g}" if rate != 1 else ""
    return (
        f"learning rate {position.stage.learning_rate:g}{lowered}, precision {precision}): lower "
        f"the learning rate of stage {position.index + 1} in --stages"
        + (", or use --precision fp32" if precision != "fp32" else "")
    )
