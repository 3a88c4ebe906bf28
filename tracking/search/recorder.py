"""Writes a search to MLflow: its run, below it a run a trial, below that a run a fold.

What is there already is known from a small file, so writing a trial again adds nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from folds.training.outcome import EpochReport
from tracking.parent_run import FINAL, ParentRun
from tracking.store import Store

_EPOCH_METRICS = ("train_loss", "val_loss", "val_accuracy", "val_macro_f1", "learning_rate")
_STATUS = {"complete": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


@dataclass(frozen=True)
class FoldRecord:
    """A finished fold of a trial.

    Parameters
    ----------
    name : str
        Of the fold, as people see it.
    time : int
        When it was finished, in ms since 1970.
    seconds : float
        That it took.
    score : float
        What trials are compared by.
    measured : mapping of str to float
    history : sequence of EpochReport
    """

    name: str
    time: int
    seconds: float
    score: float
    measured: Mapping[str, float]
    history: Sequence[EpochReport]


@dataclass(frozen=True)
class TrialRecord:
    """A trial as far as it has come.

    Parameters
    ----------
    number : int
    params : mapping
        All settings, by flag name.
    values : mapping
        Those that the search varies.
    folds : sequence of FoldRecord
    state : str
        unfinished, complete, stopped or failed.
    why : str, optional
        It was stopped, or failed.
    mean : float, optional
        Over all folds: of a complete trial alone.
    """

    number: int
    params: Mapping[str, Any]
    values: Mapping[str, Any]
    folds: Sequence[FoldRecord]
    state: str
    why: str | None
    mean: float | None


class SearchRecorder(ParentRun):
    """Writes the runs of a search; see `ParentRun` for the parameters."""

    def __init__(self, store: Store, memory: Path) -> None:
        super().__init__(store, memory, kind="search")

    def write(self, trial: TrialRecord) -> None:
        """Bring the runs of a trial up to date.

        Notes
        -----
        A trial without all folds has no ``mean_score``, so MLflow's tables cannot rank it beside
        those that have; its run is KILLED where it was stopped.
        """
        name = str(trial.number)
        if name not in self.runs.folds:
            self._begin(name, trial)
        for place, fold in enumerate(trial.folds):
            if f"{name}/{place}" not in self.runs.ended:
                self._fold(name, place, fold, trial)
        if trial.state in _STATUS:
            self._end(name, trial)

    def _begin(self, name: str, trial: TrialRecord) -> None:
        tags = {"mlflow.parentRunId": self.runs.parent, "crossfold.kind": "trial"}
        tags["crossfold.trial"] = name
        run = self.runs.folds[name] = self.run(name, f"trial {name}", tags)
        self.remember()
        self.writer.params(run, trial.params)
        self.writer.params(run, {f"space.{key}": value for key, value in trial.values.items()})

    def _fold(self, name: str, place: int, fold: FoldRecord, trial: TrialRecord) -> None:
        key = f"{name}/{place}"
        if key not in self.runs.folds:
            tags = {"mlflow.parentRunId": self.runs.folds[name], "crossfold.kind": "trial fold"}
            tags |= {"crossfold.trial": name, "crossfold.fold": fold.name}
            start = fold.time - round(1000 * fold.seconds)
            self.runs.folds[key] = self.run(key, f"trial {name} {fold.name}", tags, start)
            self.remember()
        run = self.runs.folds[key]
        self.writer.params(run, {f"space.{key}": value for key, value in trial.values.items()})
        for report in fold.history:
            values = {metric: getattr(report, metric) for metric in _EPOCH_METRICS}
            self.writer.metrics(run, fold.time, report.epoch + 1, values)
        self.writer.metrics(run, fold.time, FINAL, {**fold.measured, "score": fold.score})
        own = self.runs.folds[name]
        self.writer.metrics(own, fold.time, place + 1, {"fold_score": fold.score})
        self.client.set_terminated(run, "FINISHED", fold.time)
        self.runs.ended.append(key)
        self.remember()

    def _end(self, name: str, trial: TrialRecord) -> None:
        run = self.runs.folds[name]
        last = trial.folds[-1].time if trial.folds else None
        self.writer.tag(run, "crossfold.state", trial.state)
        if trial.why is not None:
            self.writer.tag(run, "crossfold.cause", trial.why)
        if last is not None:
            facts = {"folds_done": float(len(trial.folds))}
            facts |= {} if trial.mean is None else {"mean_score": trial.mean}
            self.writer.metrics(run, last, FINAL, facts)
        self.client.set_terminated(run, _STATUS[trial.state], last)
        if name not in self.runs.ended:
            self.runs.ended.append(name)
        self.remember()
