"""A run in MLflow that has others below it, and remembers them between starts."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.tracking.context.registry import resolve_tags

from folds.errors import UserError, masked, reason
from folds.files import read_values, write_values
from tracking.store import Store
from tracking.writer import Writer, param_texts

FINAL = 0  # step of what has one value: MLflow draws bars of the runs, and it is the model's, too


@dataclass
class Runs:
    """What is remembered between starts; `folds` are all runs below, `ended` the closed ones."""

    uri: str = ""
    experiment_id: str = ""
    parent: str = ""
    folds: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    version: str | None = None
    written: int = 0
    ended: list[str] = field(default_factory=list)


class ParentRun:
    """A run and the runs below it.

    Parameters
    ----------
    store : Store
        Where to.
    memory : Path
        The small file that keeps their ids.
    kind : str
        Value of the tag ``crossfold.kind``.
    """

    def __init__(self, store: Store, memory: Path, *, kind: str) -> None:
        self.store, self._memory, self._kind = store, memory, kind
        self.client = MlflowClient(store.uri, store.uri)
        self.writer = Writer(self.client)
        self._tags: dict[str, str] = {}
        self.failed: set[str] = set()
        self.runs = Runs()
        if memory.exists():
            self.runs = Runs(**read_values(memory))

    def open(
        self, experiment: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str]
    ) -> None:
        """Make the parent run, or go on with the one in memory.

        Raises
        ------
        UserError
            The run in memory is in another store, or a new one's files cannot be written.
        """
        self._tags = resolve_tags(dict(tags))  # with the user, the command and git's commit
        if self.runs.parent:
            self._reopen()
        else:
            self.runs.uri, self.runs.experiment_id = self.store.shown, self._experiment(experiment)
            self.runs.parent = self.run(name, {"crossfold.kind": self._kind})
            self._try_file(experiment, params)
            self.remember()
        self.log_dataset(self.runs.parent)
        there = self.client.get_run(self.runs.parent).data.params  # which MLflow lets nobody change
        new = {name: value for name, value in params.items() if name not in there}
        self.writer.params(self.runs.parent, new)

    def _try_file(self, experiment: str, params: Mapping[str, Any]) -> None:
        """Write a new run's first file, its settings: before anything is trained."""
        text = json.dumps(param_texts(params))
        try:
            self.client.log_text(self.runs.parent, text, "settings.json")
        except Exception as error:  # whatever the place of the files raises
            place = masked(self.client.get_run(self.runs.parent).info.artifact_uri)
            self.client.delete_run(self.runs.parent)
            self.runs = Runs()
            raise UserError(
                f"--experiment {experiment}: its files cannot be written to {place} "
                f"({reason(error)}); make it writable, or give a new --experiment"
            ) from None

    def _reopen(self) -> None:
        if self.runs.uri != self.store.shown:
            raise UserError(
                f"--tracking-uri {self.store.shown}: the run is in {self.runs.uri}; pass "
                f"--tracking-uri {self.runs.uri}"
            )
        for run in (self.runs.parent, *self._unfinished()):
            self.client.update_run(run, status="RUNNING")

    def log_parent(
        self, metrics: Mapping[str, float], files: Sequence[Path], tags: Mapping[str, str]
    ) -> None:
        """Write the parent's metrics, files and tags."""
        self.writer.metrics(self.runs.parent, int(time.time() * 1000), FINAL, metrics)
        for path in files:
            self.client.log_artifact(self.runs.parent, str(path))
        for name, value in tags.items():
            self.writer.tag(self.runs.parent, name, value)

    def close(self, status: str) -> None:
        """End the parent, and every run below that has not ended, as FINISHED, FAILED or KILLED."""
        for run in (*self._unfinished(), self.runs.parent):
            if run and run not in self.failed:
                self.client.set_terminated(run, status)

    def _experiment(self, name: str) -> str:
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(self.client.create_experiment(name, self.store.artifact_root))
            except mlflow.MlflowException:  # another run has made it meanwhile
                experiment = self.client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage == "deleted":
            self.client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def run(self, name: str, tags: Mapping[str, str], start: int | None = None) -> str:
        """Make a run, with the tags that all have; `start` in ms."""
        return self.writer.run(self.runs.experiment_id, name, self._tags | dict(tags), start)

    def log_dataset(self, run: str) -> None:
        """Say of a run which images it is about."""
        tags = self._tags
        self.writer.dataset(run, tags["crossfold.dataset"], tags["crossfold.data_digest"])

    def _unfinished(self) -> list[str]:
        """Runs below that have not ended well."""
        return [run for task, run in self.runs.folds.items() if task not in self.runs.ended]

    def remember(self) -> None:
        """Write the ids down."""
        write_values(self._memory, asdict(self.runs))
