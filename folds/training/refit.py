"""Training on all images once the folds have shown for how long, and at what rates; no torch."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np

from folds.arrays import Floats, Ints
from folds.training.outcome import FoldOutcome


class Teachers(NamedTuple):
    """What the folds' models say of images that they have not seen: targets of a student.

    Parameters
    ----------
    share : float
        Of these probabilities in an image's target, above 0 to 1; the rest is its label's.
    rows : ndarray of int64, shape (M,)
        The images, ascending; others have their label alone.
    probabilities : ndarray of float32, shape (M, C)
        Of the plain view, out of fold: the mean of all repeats' models that validated the image.

    Notes
    -----
    - no model that has trained on an image says anything of it, so what was learnt by heart is
      not taught;
    - the plain view's probabilities are the target of every augmented view: to ask the models
      about each view would take one more pass an image, and the weights of all folds in memory.

    References
    ----------
    Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015.
    """

    share: float
    rows: Ints
    probabilities: Floats

    @classmethod
    def of(cls, outcomes: Sequence[FoldOutcome], share: float) -> Self:
        """Those of finished folds, one at least."""
        every = np.concatenate([outcome.rows for outcome in outcomes])
        said = np.concatenate([outcome.probabilities for outcome in outcomes])
        rows, place, times = np.unique(every, return_inverse=True, return_counts=True)
        total = np.zeros((len(rows), said.shape[1]))
        np.add.at(total, place, said)
        return cls(share, rows, (total / times[:, None]).astype(np.float32))


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
    teachers : Teachers, optional
        With ``--distill``.
    """

    epochs: int
    averaged: bool
    rates: tuple[float, ...] = ()
    teachers: Teachers | None = field(default=None, compare=False)

    @classmethod
    def of(cls, outcomes: Sequence[FoldOutcome], distill: float = 0.0) -> Self:
        """The mean of the folds' kept epochs, what most of them kept, and the middle rates.

        Parameters
        ----------
        distill : float
            Share of what they teach; 0: nothing.

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
        teachers = Teachers.of(outcomes, distill) if distill else None
        return cls(epochs, averaged, tuple(rates), teachers)
