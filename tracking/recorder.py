"""The only code that writes to MLflow while folds are trained (law 4).

It is fed the events of a run in order and keeps, in a small file, the ids of its runs and how
many events it has written. After a restart it goes on behind the last of them.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import mlflow
from matplotlib.colors import TABLEAU_COLORS
from mlflow import MlflowClient
from mlflow.tracking.context.registry import resolve_tags

from folds.arrays import Ints
from folds.errors import UserError, masked, reason
from folds.evaluation.metrics import confusion, odd_initial_loss
from folds.files import write_whole
from folds.training.outcome import FoldOutcome
from tracking.events import EpochEnded, Event, Failed, Finished, Started
from tracking.figures import confusion_figure, curves_figure
from tracking.mlflow_pages import Pages, fold_note
from tracking.models import log_model
from tracking.promotion.registry import VersionNotes, register
from tracking.store import Store
from tracking.writer import Writer, param_texts

_EPOCH_METRICS = (
    "train_loss", "val_loss", "val_accuracy", "val_macro_f1", "learning_rate", "images_per_second",
    "ema_loss", "ema_accuracy", "ema_macro_f1",
)  # fmt: skip

_COLOURS = tuple(
    map(str, TABLEAU_COLORS.values())
)  # MLflow's own are by chance, two of them often equal
_FINAL = 0  # step of what has one value: MLflow draws bars of the runs, and it is the model's, too


@dataclass
class Runs:
    """What the Recorder remembers between starts."""

    uri: str = ""
    experiment_id: str = ""
    parent: str = ""
    folds: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    version: str | None = None
    written: int = 0


@dataclass(frozen=True)
class FoldFiles:
    """A finished fold, as the Recorder logs it.

    Parameters
    ----------
    bundle : Path
        Folder of `folds.model.bundle.write_bundle`.
    labels : ndarray of int64, shape (V,)
        Of the validation part.
    outcome : FoldOutcome
    """

    bundle: Path
    labels: Ints
    outcome: FoldOutcome


class Recorder:
    """Writes one parent run, and a child run a fold.

    Parameters
    ----------
    store : Store
        Where to.
    memory : Path
        The small file.
    class_names : sequence of str
        For the pictures.
    names : sequence of str
        Names of the folds, in the order of their numbers.
    """

    def __init__(
        self, store: Store, memory: Path, *, class_names: Sequence[str], names: Sequence[str]
    ) -> None:
        self.store, self._memory = store, memory
        self._classes, self._names = class_names, names
        self._client = MlflowClient(store.uri, store.uri)
        self._writer = Writer(self._client)
        self._tags: dict[str, str] = {}
        self._failed: set[str] = set()
        self.runs = Runs()
        if memory.exists():
            self.runs = Runs(**json.loads(memory.read_text(encoding="utf-8")))

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
            self.runs.parent = self._run(name, {"crossfold.kind": "parent"})
            self._try_file(experiment, params)
            self._remember()
        self._log_dataset(self.runs.parent)
        self._writer.params(self.runs.parent, params)

    def _try_file(self, experiment: str, params: Mapping[str, Any]) -> None:
        """Write a new run's first file, its settings: before anything is trained."""
        text = json.dumps(param_texts(params))
        try:
            self._client.log_text(self.runs.parent, text, "settings.json")
        except Exception as error:  # whatever the place of the files raises
            place = masked(self._client.get_run(self.runs.parent).info.artifact_uri)
            self._client.delete_run(self.runs.parent)
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
            self._client.update_run(run, status="RUNNING")

    def write(self, event: Event, files: FoldFiles | None = None) -> None:
        """Write one event; the next one comes only when this one has been written.

        Parameters
        ----------
        event : Event
        files : FoldFiles, optional
            With `Finished`.
        """
        task = str(event.task)
        match event:
            case Started():
                self._start(task, event)
            case EpochEnded(report=report):
                values = {name: getattr(report, name) for name in _EPOCH_METRICS}
                there = {name: value for name, value in values.items() if value is not None}
                self._writer.metrics(self.runs.folds[task], event.time, report.epoch + 1, there)
            case Finished():
                assert files is not None
                self._finish(task, event, files)
            case Failed() if task in self.runs.folds:  # it may have failed before it started
                self._writer.tag(self.runs.folds[task], "crossfold.cause", event.cause)
                self._client.set_terminated(self.runs.folds[task], "FAILED")
                self._failed.add(self.runs.folds[task])
        self.runs.written += 1
        self._remember()

    def log_parent(
        self,
        metrics: Mapping[str, float],
        files: Sequence[Path],
        figure: Any,
        tags: Mapping[str, str],
    ) -> None:
        """Write the parent's metrics, files, confusion matrix and tags."""
        self._writer.metrics(self.runs.parent, int(time.time() * 1000), _FINAL, metrics)
        for path in files:
            self._client.log_artifact(self.runs.parent, str(path))
        self._client.log_figure(self.runs.parent, figure, "confusion.png")
        for name, value in tags.items():
            self._writer.tag(self.runs.parent, name, value)

    def register(self, bundle: Path, kind: str, name: str, about: VersionNotes) -> str:
        """Log a bundle in the parent run and make it the newest version and the candidate; once.

        Parameters
        ----------
        bundle : Path
            Folder of `folds.model.bundle`.
        kind : str
            best-fold, ensemble, soup or refit: the model's name within the run.
        name : str
            Of the registered model.
        """
        if self.runs.version is None:
            with mlflow.start_run(run_id=self.runs.parent):
                model = log_model(bundle, name=kind)
            self.runs.version = register(model, name, about)
            self._remember()
        tag = f"{name} v{self.runs.version}"
        self._writer.tag(self.runs.parent, "crossfold.registered", tag)
        return self.runs.version

    def close(self, status: str) -> None:
        """End the parent, and every fold that has not ended, as FINISHED, FAILED or KILLED."""
        for run in (*self._unfinished(), self.runs.parent):
            if run and run not in self._failed:
                self._client.set_terminated(run, status)

    def _experiment(self, name: str) -> str:
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(self._client.create_experiment(name, self.store.artifact_root))
            except mlflow.MlflowException:  # another run has made it meanwhile
                experiment = self._client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _run(self, name: str, tags: Mapping[str, str], start: int | None = None) -> str:
        return self._writer.run(self.runs.experiment_id, name, self._tags | dict(tags), start)

    def _log_dataset(self, run: str) -> None:
        tags = self._tags
        self._writer.dataset(run, tags["crossfold.dataset"], tags["crossfold.data_digest"])

    def _start(self, task: str, event: Started) -> None:
        if task not in self.runs.folds:
            self.runs.folds[task] = self._child(task, event)
            self._remember()
        own = {"fold": self._names[int(task)], "train_images": event.train}
        own |= {"held_out": event.held_out}
        own |= {f"fold_class_{what}": value for what, value in event.balance.items()}
        parent = self._client.get_run(self.runs.parent).data.params
        self._writer.params(self.runs.folds[task], parent | own)
        self._log_dataset(self.runs.folds[task])

    def _child(self, task: str, event: Started) -> str:
        name = self._names[int(task)]
        tags = {
            "mlflow.parentRunId": self.runs.parent,
            "mlflow.runColor": _COLOURS[int(task) % len(_COLOURS)],
            "crossfold.kind": "fold" if event.held_out else "refit",
            "crossfold.fold": name,
            "crossfold.lane": str(event.lane),
            "crossfold.host": event.host,
            "crossfold.precision": event.precision,
        }
        return self._run(name, tags, event.time)

    def _finish(self, task: str, event: Finished, files: FoldFiles) -> None:
        run = self.runs.folds[task]
        best = event.kept_epoch
        facts = {**event.scores, "kept_epoch": best + 1}
        facts["initial_loss"] = files.outcome.history[0].first_loss
        odd = odd_initial_loss(facts["initial_loss"], len(self._classes))
        if odd is not None:
            self._writer.tag(run, "crossfold.notice", odd)
        self._writer.metrics(run, event.time, _FINAL, facts)
        pages = Pages(self.runs.experiment_id, self.runs.parent)
        epoch, pictures = (
            f"{best + 1} of {len(files.outcome.history)}",
            self._draw(task, best, files),
        )
        note = fold_note(pages, run, epoch, event.scores, pictures)
        self._writer.tag(run, "mlflow.note.content", note)
        if task not in self.runs.models:
            with mlflow.start_run(run_id=run):
                name = self._names[int(task)].replace(" ", "-")
                self.runs.models[task] = log_model(files.bundle, name=name)
            self._remember()
        self._client.set_terminated(run, "FINISHED", event.time)

    def _draw(self, task: str, best: int, files: FoldFiles) -> list[str]:
        """Log the pictures of a fold; their names."""
        title = f"{self._names[int(task)]}, epoch {best + 1}"
        pictures = {"curves.png": curves_figure(files.outcome.history, best, title)}
        if len(files.labels):
            counts = confusion(files.labels, files.outcome.probabilities)
            pictures["confusion.png"] = confusion_figure(counts, self._classes, title)
        for name, picture in pictures.items():
            self._client.log_figure(self.runs.folds[task], picture, name)
        return list(pictures)

    def _unfinished(self) -> list[str]:
        """Folds without a model; those are the ones that have not ended well."""
        return [run for task, run in self.runs.folds.items() if task not in self.runs.models]

    def _remember(self) -> None:
        write_whole(self._memory, json.dumps(asdict(self.runs)).encode())
