"""Gradual unfreezing as data: stages, and what each epoch and step gets from them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of training.

    Parameters
    ----------
    share : float
        Unfrozen share of the backbone's layer groups, counted from its head, 0 to 1.
    epochs : int
        Length, at least 1.
    learning_rate : float
        Learning rate at the start of the stage, above 0.
    """

    share: float
    epochs: int
    learning_rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share {self.share:g} is not between 0 and 1")
        if self.epochs < 1:
            raise ValueError(f"{self.epochs} epochs; a stage has at least 1")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning rate {self.learning_rate:g} is not above 0")

    def __str__(self) -> str:
        return f"{_short(self.share)}:{self.epochs}:{_short(self.learning_rate)}"

    @classmethod
    def parse(cls, text: Any) -> Self:
        """Read ``SHARE:EPOCHS:LEARNING_RATE``, such as ``0.5:3:3e-4``.

        Raises
        ------
        ValueError
            The text has another form, or a value is out of range.
        """
        if isinstance(text, cls):
            return text
        parts = str(text).split(":")
        try:
            share, epochs, learning_rate = parts
            numbers = float(share), int(epochs), float(learning_rate)
        except ValueError:
            raise ValueError("a stage is SHARE:EPOCHS:LEARNING_RATE, such as 0.5:3:3e-4") from None
        return cls(*numbers)


def _short(number: float) -> str:
    """The shortest text that reads back as the same number."""
    text = f"{number:g}"
    return text if float(text) == number else repr(float(number))


@dataclass(frozen=True, slots=True)
class Moment:
    """Where in the stages an epoch lies.

    Parameters
    ----------
    index : int
        Number of the stage, from 0.
    stage : Stage
        The stage.
    epoch : int
        Epoch within the stage, from 0.
    """

    index: int
    stage: Stage
    epoch: int


def total_epochs(stages: Sequence[Stage]) -> int:
    """Epochs of all stages together."""
    return sum(stage.epochs for stage in stages)


def moment(stages: Sequence[Stage], epoch: int) -> Moment:
    """Find the stage of an epoch (from 0); a pure function, so nothing about it is stored."""
    first = 0
    for index, stage in enumerate(stages):
        if epoch < first + stage.epochs:
            return Moment(index, stage, epoch - first)
        first += stage.epochs
    raise IndexError(f"epoch {epoch} of {first}")


def without_pretraining(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """One stage, everything unfrozen: frozen random layers would teach the head nothing.

    As many epochs as the stages had together, at the greatest of their learning rates.
    """
    return (Stage(1.0, total_epochs(stages), max(stage.learning_rate for stage in stages)),)
