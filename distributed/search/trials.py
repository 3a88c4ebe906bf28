"""The trials of a search, in memory and in the search's folder, from which ``--resume`` goes on.

::

    trial-3/trial.json   its values; when it has ended also how, and why
            fold-0/      a finished fold, see `folds.training.outcome`; the first in order is 0
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from folds.config.selection import SelectBy
from folds.config.spaces import Values
from folds.files import DamagedError, read_values, write_values
from folds.training.outcome import VALUES, FoldOutcome

State = Literal["unfinished", "complete", "stopped", "failed"]


@dataclass
class Trial:
    """A configuration, and how far it came.

    Parameters
    ----------
    number : int
        From 1, in the order in which configurations are proposed.
    values : dict
        Of the space's parameters.
    scores : list of float
        Of the folds done, in the order that all trials have; larger is better.
    seconds : list of float
        That each of them took.
    epochs : list of float
        Scores after each epoch of the first fold, as far as it came.
    state : {"unfinished", "complete", "stopped", "failed"}
    why : str, optional
        It was stopped, or failed.
    estimate : float, optional
        What its mean over all folds is taken for, when it ended.
    stopped_after : int, optional
        Folds, of a trial that was stopped.
    audited : bool
        Whether it was finished anyway.
    """

    number: int
    values: Values
    scores: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    epochs: list[float] = field(default_factory=list)
    state: State = "unfinished"
    why: str | None = None
    estimate: float | None = None
    stopped_after: int | None = None
    audited: bool = False

    @property
    def mean(self) -> float:
        """Mean score over the folds done; minus infinity of none."""
        return float(np.mean(self.scores)) if self.scores else -np.inf


class Trials:
    """All trials of a search.

    Parameters
    ----------
    folder : Path
        What is there already is read.
    folds : int
        Of a whole trial, those of all repeats.
    select : SelectBy
        What a fold's score is.

    Notes
    -----
    A trial that was read is as it was when it was written: scores are floats that are kept exactly.
    One whose files are damaged is forgotten, and `damaged` tells of it: asked for again, it is
    trained as before.
    """

    def __init__(self, folder: Path, folds: int, select: SelectBy) -> None:
        self.folder, self.folds, self._select = folder, folds, select
        self._trials: dict[int, Trial] = {}
        self.damaged: list[str] = []
        for path in sorted(folder.glob("trial-*/trial.json")):
            try:
                trial = self._read(path)
            except DamagedError as error:
                shutil.rmtree(path.parent)
                self.damaged.append(f"{error}; {path.parent.name} begins again")
            else:
                self._trials[trial.number] = trial

    def _read(self, path: Path) -> Trial:
        trial = Trial(**read_values(path))
        for place in range(self.folds):
            if not (self.fold(trial.number, place) / VALUES).exists():
                break
            self._score(trial, self.outcome(trial.number, place))
        return trial

    def __len__(self) -> int:
        return len(self._trials)

    def __iter__(self) -> Iterator[Trial]:
        return iter([self._trials[number] for number in sorted(self._trials)])

    def get(self, number: int) -> Trial | None:
        """A trial, if it has been begun."""
        return self._trials.get(number)

    def __getitem__(self, number: int) -> Trial:
        return self._trials[number]

    def complete(self, up_to: int | None = None) -> list[Trial]:
        """Trials with all folds that were never stopped, those up to a number if one is given."""
        return [
            trial
            for trial in self
            if trial.state == "complete"
            and not trial.audited
            and (up_to is None or trial.number <= up_to)
        ]

    @property
    def best(self) -> Trial | None:
        """Of the complete trials that with the greatest mean; of equals the first."""
        return max(self.complete(), key=lambda trial: trial.mean, default=None)

    def begin(self, number: int, values: Values) -> Trial:
        """Add a trial, or give the one that was begun before."""
        if number not in self._trials:
            self._trials[number] = Trial(number, values)
            self._write(self._trials[number])
        return self._trials[number]

    def add(self, number: int, place: int, outcome: FoldOutcome, seconds: float) -> bool:
        """Keep a finished fold; False where it is there already, a lost worker's."""
        trial = self._trials[number]
        if place < len(trial.scores):
            return False
        trial.seconds.append(seconds)
        if place == 0:
            trial.epochs = [report.score for report in outcome.history]
        self._write(trial)
        outcome.write(self.fold(number, place))
        self._score(trial, outcome)
        return True

    def end(
        self,
        number: int,
        state: State,
        *,
        why: str | None = None,
        estimate: float | None = None,
        epochs: Sequence[float] = (),
    ) -> None:
        """Say how a trial ended; with `epochs` within its first fold."""
        trial = self._trials[number]
        trial.state, trial.why, trial.estimate = state, why, estimate
        trial.epochs = list(epochs) or trial.epochs
        if state == "stopped":
            trial.stopped_after = len(trial.scores)
        self._write(trial)

    def reopen(self, number: int) -> None:
        """Let a stopped trial be finished anyway."""
        trial = self._trials[number]
        trial.audited, trial.state = True, "unfinished"
        self._write(trial)

    def outcome(self, number: int, place: int) -> FoldOutcome:
        """A finished fold of a trial."""
        return FoldOutcome.read(self.fold(number, place))

    def outcomes(self, number: int) -> list[FoldOutcome]:
        """All finished folds of a trial, in order."""
        return [self.outcome(number, place) for place in range(len(self._trials[number].scores))]

    def _score(self, trial: Trial, outcome: FoldOutcome) -> None:
        trial.scores.append(self._select.value(outcome.measured))

    def fold(self, number: int, place: int) -> Path:
        """The folder of a fold of a trial."""
        return self.folder / f"trial-{number}" / f"fold-{place}"

    def _write(self, trial: Trial) -> None:
        content = {name: getattr(trial, name) for name in _KEPT}
        path = self.folder / f"trial-{trial.number}" / "trial.json"
        write_values(path, content)


_KEPT: Sequence[str] = (
    "number", "values", "seconds", "epochs", "state", "why", "estimate", "stopped_after", "audited",
)  # fmt: skip
