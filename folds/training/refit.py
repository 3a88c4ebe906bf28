"""Training on all images once the folds have shown for how long; without torch."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class RefitPlan:
    """How to train on all images but the hold-out, where nothing is left to validate by.

    Parameters
    ----------
    epochs : int
        At least 1. The stages end there, the last one with its own schedule of learning rates.
    averaged : bool
        Whether to keep the moving average of the weights.
    """

    epochs: int
    averaged: bool

    @classmethod
    def of(cls, best_epochs: Sequence[int], averaged: Sequence[bool]) -> Self:
        """The mean of the folds' best epochs (from 0), and the weights that most of them kept."""
        epochs = round(statistics.mean(best_epochs)) + 1
        return cls(epochs, 2 * sum(averaged) > len(averaged))
