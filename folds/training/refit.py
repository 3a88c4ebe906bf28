"""Training on all images once the folds have shown for how long, and at what rates; no torch."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from folds.training.outcome import FoldOutcome


@dataclass(frozen=True)
class RefitPlan:
    """How to train on all images but the hold-out, where nothing is left to validate by.

    Parameters
    ----------
    epochs : int
        At least 1. The stages end there, the last one with its own schedule of learning rates.
    averaged : bool
        Whether to keep the moving average of the weights.
    rates : tuple of float
        Learning rate of the folds at the first step of each of these epochs. A schedule that
        looks at scores (``plateau``) is replayed from them: there are no scores.
    """

    epochs: int
    averaged: bool
    rates: tuple[float, ...] = ()

    @classmethod
    def of(cls, outcomes: Sequence[FoldOutcome]) -> Self:
        """The mean of the folds' kept epochs, what most of them kept, and the middle rates.

        Notes
        -----
        - a rate is reduced in the epoch in which more than half of the folds have reduced theirs;
          a fold that stopped early counts with its last.
        """
        epochs = round(statistics.mean(outcome.kept_epoch for outcome in outcomes)) + 1
        averaged = 2 * sum(outcome.averaged for outcome in outcomes) > len(outcomes)
        histories = [outcome.history for outcome in outcomes]
        rates = (
            statistics.median_high(
                history[min(epoch, len(history) - 1)].learning_rate for history in histories
            )
            for epoch in range(epochs)
        )
        return cls(epochs, averaged, tuple(rates))
