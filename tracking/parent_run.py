"""A run in MLflow that has others below it, and remembers them between starts."""

import contextlib
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import mlflow
from mlflow import MlflowClient
from mlflow.tracking.context.registry import resolve_tags

from folds.errors import UserError, masked, reason
from folds.files import read_values, write_values
from tracking import limits
from tracking.store import Store
from tracking.writer import Writer, param_texts

FINAL = 0  # step of what has one value: MLflow draws bars of the runs, and it is the model's, too
_MARK = "crossfold.mark"
_PARENT = "parent"


@dataclass
class Runs:
    """What is remembered between starts.

    Parameters
    ----------
    folds : dict of str to str
        Ids of all runs below.
    written : int
        Events of the journal that are in MLflow.
    ended : list of str
        Keys of the runs below that are closed.
    failed : list of str
        Ids of the runs below that have failed.
    tags : dict of str to str
        Of all runs.
    making : dict of str to str
        Tags of the runs that are being made: one whose id was not remembered is found by it.
    finished : int
        When the parent's own metrics were first written, in ms: they are written with that time
        again.
    status : str
        How the run was closed last.
    class_names, names : list of str
        Of the classes and the folds, where there are some.
    """

    uri: str = ""
    experiment_id: str = ""
    parent: str = ""
    folds: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    version: str | None = None
    written: int = 0
    ended: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    making: dict[str, str] = field(default_factory=dict)
    finished: int = 0
    status: str = ""
    class_names: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, memory: Path) -> Self:
        """Read what `ParentRun.remember` wrote; of a run that has not been begun, nothing."""
        if not memory.exists():
            return cls()
        return cls(**read_values(memory))


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
        self.runs = Runs.read(memory)
        self.failed = set(self.runs.failed)

    def open(
        self, experiment: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str]
    ) -> None:
        """Make the parent run, or go on with the one in memory.

        Raises
        ------
        UserError
            The run in memory is in another store, or a new one's files cannot be written.
        """
        # with the user, the command and git's commit
        self.runs.tags = limits.tags(resolve_tags(dict(tags)))
        self.runs.status = ""
        if self.runs.parent:
            self._reopen()
        else:
            self.runs.uri, self.runs.experiment_id = self.store.shown, self._experiment(experiment)
            self.runs.parent = self.run(_PARENT, name, {"crossfold.kind": self._kind})
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
            self._memory.unlink(missing_ok=True)
            lacks = isinstance(error, ModuleNotFoundError) and error.name == "boto3"
            remedy = "pip install 'crossfold[s3]'" if lacks else "make it writable"
            raise UserError(
                f"--experiment {experiment}: its files cannot be written to {place} "
                f"({reason(error)}); {remedy}, or give a new --experiment"
            ) from None

    def _reopen(self) -> None:
        self.check_store()
        self.failed.clear()  # they are tried again
        for run in (self.runs.parent, *self._unfinished()):
            self.client.update_run(run, status="RUNNING")

    def check_store(self) -> None:
        """Refuse another store than that of the run in memory.

        Raises
        ------
        UserError
        """
        if self.runs.uri != self.store.shown:
            raise UserError(
                f"--tracking-uri {self.store.shown}: the run is in {self.runs.uri}; pass "
                f"--tracking-uri {self.runs.uri}"
            )

    def log_parent(
        self,
        metrics: Mapping[str, float],
        files: Sequence[Path],
        tags: Mapping[str, str],
        curves: Sequence[tuple[int, Mapping[str, float]]] = (),
    ) -> None:
        """Write the parent's metrics, files and tags; of curves a step and its values each."""
        if not self.runs.finished:
            self.runs.finished = int(time.time() * 1000)
            self.remember()
        self.writer.metrics(self.runs.parent, self.runs.finished, FINAL, metrics)
        for step, values in curves:
            self.writer.metrics(self.runs.parent, self.runs.finished, step, values)
        for path in files:
            self.client.log_artifact(self.runs.parent, str(path))
        for name, value in tags.items():
            self.writer.tag(self.runs.parent, name, value)

    def close(self, status: str) -> None:
        """End the parent, and every run below that has not ended, as FINISHED, FAILED or KILLED."""
        self.runs.status = status
        with contextlib.suppress(OSError):  # a full disk, which is told anyway
            self.remember()
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

    def run(self, key: str, name: str, tags: Mapping[str, str], start: int | None = None) -> str:
        """Make a run, with the tags that all have; or find it, if an earlier try has made it.

        Who calls this remembers the id; until then `key` stands for the run.

        Parameters
        ----------
        key : str
            Tells it apart from the others.
        start : int, optional
            In ms.
        """
        mark = self.runs.making.get(key)
        found = None if mark is None else self._marked(mark)
        if mark is None:
            mark = self.runs.making[key] = uuid.uuid4().hex
            self.remember()
        if found is None:
            own = self.runs.tags | {_MARK: mark} | dict(tags)
            found = self.writer.run(self.runs.experiment_id, name, own, start)
        del self.runs.making[key]
        return found

    def _marked(self, mark: str) -> str | None:
        """The id of a run with this mark, if there is one."""
        found = self.client.search_runs([self.runs.experiment_id], f"tags.`{_MARK}` = '{mark}'")
        return str(found[0].info.run_id) if found else None

    def log_dataset(self, run: str) -> None:
        """Say of a run which images it is about."""
        tags = self.runs.tags
        self.writer.dataset(run, tags["crossfold.dataset"], tags["crossfold.data_digest"])

    def _unfinished(self) -> list[str]:
        """Runs below that have not ended well."""
        return [run for task, run in self.runs.folds.items() if task not in self.runs.ended]

    def remember(self) -> None:
        """Write the ids down."""
        self.runs.failed = sorted(self.failed)
        write_values(self._memory, asdict(self.runs))
