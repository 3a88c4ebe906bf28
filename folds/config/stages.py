"""What ``--stages`` may say: gradual unfreezing as data, and what it makes of each epoch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

FORM = "SHARE:EPOCHS:LEARNING_RATE, such as 0.5:3:3e-4 or, by blocks, 3blocks:3:3e-4"
_NORM = "bn="


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
    blocks : int, optional
        Number of unfrozen layer groups instead; `of` then settles the share (before: 1).
    norm : {"", "frozen", "train"}
        Batch norm of the whole backbone in this stage. frozen: neither its weights nor its
        statistics change, in unfrozen layers neither; train: the statistics follow, in frozen
        layers too. Empty: it is as frozen as its layer, but for ``--frozen-norm``.
    """

    share: float
    epochs: int
    learning_rate: float
    blocks: int | None = None
    norm: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share {self.share:g} is not between 0 and 1")
        if self.blocks is not None and self.blocks < 1:
            raise ValueError(f"{self.blocks}blocks; at least 1, or the share 0 for none")
        if self.epochs < 1:
            raise ValueError(f"{self.epochs} epochs; a stage has at least 1")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning rate {self.learning_rate:g} is not above 0")
        if self.norm not in ("", "frozen", "train"):
            raise ValueError(
                f"{_NORM}{self.norm}; use {_NORM}frozen, {_NORM}train, or leave it out"
            )

    def __str__(self) -> str:
        part = _short(self.share) if self.blocks is None else f"{self.blocks}blocks"
        norm = f":{_NORM}{self.norm}" if self.norm else ""
        return f"{part}:{self.epochs}:{_short(self.learning_rate)}{norm}"

    @classmethod
    def parse(cls, text: Any) -> Self:
        """Read ``SHARE:EPOCHS:LEARNING_RATE``, see `FORM`; ``:bn=...`` may follow.

        Raises
        ------
        ValueError
            The text has another form, or a value is out of range.
        """
        if isinstance(text, cls):
            return text
        stem, named, norm = str(text).partition(f":{_NORM}")
        try:
            if named and not norm:
                raise ValueError
            part, epochs, learning_rate = stem.split(":")
            count = part.removesuffix("s").removesuffix("block")
            blocks = int(count) if "block" in part else None
            share = float(part) if blocks is None else 1.0
            numbers = share, int(epochs), float(learning_rate), blocks
        except ValueError:
            raise ValueError(f"a stage is {FORM}") from None
        return cls(*numbers, norm)

    def unfrozen(self, groups: int) -> int:
        """How many of a backbone's layer groups train: a share is rounded up, none stays none."""
        return math.ceil(self.share * groups - 1e-9) if self.blocks is None else self.blocks

    def of(self, groups: int) -> Self:
        """The stage for a backbone of so many layer groups: the share that its blocks are.

        Raises
        ------
        ValueError
            It has fewer.
        """
        if self.blocks is None:
            return self
        if self.blocks > groups:
            raise ValueError(
                f"the backbone has {groups} blocks; name at most these, or the share 1"
            )
        return replace(self, share=self.blocks / groups)


def _short(number: float) -> str:
    """The shortest text that reads back as the same number."""
    text = f"{number:g}"
    return text if float(text) == number else repr(float(number))


@dataclass(frozen=True, slots=True)
class StagePosition:
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


def stage_position(stages: Sequence[Stage], epoch: int) -> StagePosition:
    """Find the stage of an epoch (from 0); a pure function, so nothing about it is stored."""
    first = 0
    for index, stage in enumerate(stages):
        if epoch < first + stage.epochs:
            return StagePosition(index, stage, epoch - first)
        first += stage.epochs
    raise IndexError(f"epoch {epoch} of {first}")


def lr_scale(
    depth: int,
    groups: int,
    stages: Sequence[Stage],
    index: int,
    done: float,
    *,
    decay: float,
    warmup: float,
) -> float:
    """Factor of the learning rate of a layer group.

    Parameters
    ----------
    depth : int
        0 for the head, 1 for the last layer group of the backbone, `groups` for its stem.
    groups : int
        Number of the backbone's layer groups.
    stages : sequence of Stage
        The schedule.
    index : int
        The stage, from 0.
    done : float
        Epochs of the stage that will be done after the step, in parts of an epoch; above 0.
    decay : float
        Factor from a layer group to the one below it, above 0; 1: none.
    warmup : float
        Epochs in which a group that the stage before had frozen rises linearly to its rate. The
        first stage counts as following one in which the head alone was trained.

    References
    ----------
    Bao et al., BEiT, 2022, for the decay.
    """
    before = stages[index - 1].unfrozen(groups) if index else 0
    new = before < depth <= stages[index].unfrozen(groups)
    rise = min(1.0, done / warmup) if new and warmup > 0 else 1.0
    return float(decay**depth * rise)


def without_pretraining(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """One stage, everything unfrozen: frozen random layers would teach the head nothing.

    As many epochs as the stages had together, at the greatest of their learning rates.
    """
    return (Stage(1.0, total_epochs(stages), max(stage.learning_rate for stage in stages)),)


def shortened(stages: tuple[Stage, ...], epochs: int) -> tuple[Stage, ...]:
    """The first `epochs` of a schedule, at least 1: its last stage ends where they end."""
    kept, left = [], epochs
    for stage in stages:
        if left > 0:
            kept.append(replace(stage, epochs=min(stage.epochs, left)))
        left -= stage.epochs
    return tuple(kept)
