"""The only code that writes to MLflow while folds are trained (law 4).

It is fed the events of a run in order and keeps, in a small file, the ids of its runs and how
many events it has written. After a restart it goes on behind the last of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from matplotlib.colors import TABLEAU_COLORS

from folds.arrays import Ints
from folds.evaluation.metrics import confusion, odd_initial_loss
from folds.training.outcome import FoldOutcome
from tracking.events import EpochEnded, Event, Failed, Finished, Retried, Started
from tracking.figures import confusion_figure, curves_figure
from tracking.mlflow_pages import CHOSEN_BY, Pages, fold_note
from tracking.models import log_model
from tracking.parent_run import FINAL, ParentRun, Runs
from tracking.promotion.registry import VersionNotes, register
from tracking.run_folder import RunFolder
from tracking.store import Store

_EPOCH_METRICS = (
    "train_loss", "val_loss", "val_accuracy", "val_macro_f1", "learning_rate", "images_per_second",
    "ema_loss", "ema_accuracy", "ema_macro_f1",
)  # fmt: skip

_COLOURS = tuple(
    map(str, TABLEAU_COLORS.values())
)  # MLflow's own are by chance, two of them often equal


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

    @classmethod
    def read(cls, space: RunFolder, task: int) -> Self:
        """Read those of a run's folder."""
        outcome = space.read_outcome(task)
        return cls(space.bundle(task), space.read_labels()[outcome.rows], outcome)


class Recorder(ParentRun):
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
        Names of the folds, in the order of their numbers. What happens to further ones is not
        written: they are points of a learning curve, which the parent run gets in the end.

    Notes
    -----
    A fold that is tried otherwise may train an epoch again, with other numbers. MLflow cannot take
    a point back, and to leave the new one out would show what the model at hand never had: both
    are kept at their step, the later one counts, and the tag ``crossfold.retried`` says why there
    are two. After each epoch of a network that trains there is a checkpoint, so that seldom is.
    """

    def __init__(
        self, store: Store, memory: Path, *, class_names: Sequence[str], names: Sequence[str]
    ) -> None:
        super().__init__(store, memory, kind="parent")
        self._classes, self._names = class_names, names
        self.incomplete = False  # whether the journal has lost events
        self.runs.class_names, self.runs.names = list(class_names), list(names)

    @classmethod
    def of(cls, store: Store, space: RunFolder) -> Self:
        """The Recorder of an interrupted run, from its folder alone.

        Raises
        ------
        UserError
            The run is in another store, or has not been begun there.
        """
        there = Runs.read(space.memory)
        made = cls(store, space.memory, class_names=there.class_names, names=there.names)
        made.check_store()
        return made

    def take(self, event: Event, space: RunFolder) -> None:
        """Write an event of a run's journal; that of a finished fold with its files."""
        ours = event.task < len(self._names)
        finished = ours and isinstance(event, Finished)
        self.write(event, FoldFiles.read(space, event.task) if finished else None)

    def write(self, event: Event, files: FoldFiles | None = None) -> None:
        """Write one event; the next one comes only when this one has been written.

        Parameters
        ----------
        event : Event
        files : FoldFiles, optional
            With `Finished`.
        """
        if event.task < len(self._names):
            self._write(event, files)
        self.runs.written += 1
        self.remember()

    def _write(self, event: Event, files: FoldFiles | None) -> None:
        task = str(event.task)
        match event:
            case Started():
                self._start(task, event)
            case EpochEnded():
                self._log_epoch(self._fold_run(task, event), event)
            case Finished():
                assert files is not None
                self._fold_run(task, event)
                self._finish(task, event, files)
            case Retried(cause=cause):
                self._add_line(self.runs.folds.get(task), "crossfold.retried", cause)
                line = f"{self._names[event.task]}: {cause}"
                self._add_line(self.runs.parent, "crossfold.notices", line)
            case Failed():
                self.fail(event.task, event.cause, event.time)

    def fail(self, task: int, cause: str, time: int | None = None) -> None:
        """End a fold's run as failed, if it has one: it may have failed before it started.

        Parameters
        ----------
        time : int, optional
            In ms since 1970; default: now.
        """
        if (run := self.runs.folds.get(str(task))) is not None:
            self.writer.tag(run, "crossfold.cause", cause)
            self.client.set_terminated(run, "FAILED", time)
            self.failed.add(run)

    def log_confusion(self, figure: Any) -> None:
        """Write the parent's confusion matrix."""
        self.client.log_figure(self.runs.parent, figure, "confusion.png")

    def register(self, bundle: Path, kind: str, name: str, about: VersionNotes) -> str:
        """Log a bundle in the parent run and make it the newest version and the candidate; once.

        Parameters
        ----------
        bundle : Path
            Folder of `folds.model.bundle`.
        kind : str
            best-fold, ensemble, soup, refit or student: the model's name within the run.
        name : str
            Of the registered model.
        """
        if self.runs.version is None:
            model = log_model(bundle, name=kind, run=self.runs.parent)
            self.runs.version = register(model, name, about)
            self.remember()
        tag = f"{name} v{self.runs.version}"
        self.writer.tag(self.runs.parent, "crossfold.registered", tag)
        return self.runs.version

    def _log_epoch(self, run: str, event: EpochEnded) -> None:
        report = event.report
        values = {name: getattr(report, name) for name in _EPOCH_METRICS}
        there = {name: value for name, value in values.items() if value is not None}
        if not math.isnan(report.val_loss):  # a refit is chosen by nothing
            there[CHOSEN_BY] = report.score
        if self.incomplete:  # an event that was lost may come again, at another time
            points = self.client.get_metric_history(run, "train_loss")
            if any((p.step, p.value) == (report.epoch + 1, report.train_loss) for p in points):
                return
        self.writer.metrics(run, event.time, report.epoch + 1, there)

    def _fold_run(self, task: str, event: Event) -> str:
        """The fold's run; it is made where the event that the fold has begun is lost."""
        if task not in self.runs.folds:
            name = self._names[int(task)]
            tags = {"mlflow.parentRunId": self.runs.parent, "crossfold.kind": "fold"}
            tags["crossfold.fold"] = name
            self.runs.folds[task] = self.run(task, name, tags, event.time)
            self.remember()
        return self.runs.folds[task]

    def _add_line(self, run: str | None, key: str, line: str) -> None:
        """Add a line to a tag, once; without a run there is none to tag."""
        if run is None:
            return
        lines = self.client.get_run(run).data.tags.get(key, "").splitlines()
        if line not in lines:
            self.writer.tag(run, key, "\n".join([*lines, line]))

    def _start(self, task: str, event: Started) -> None:
        if task not in self.runs.folds:
            self.runs.folds[task] = self._child(task, event)
            self.remember()
        own = {"fold": self._names[int(task)], "train_images": event.train}
        own |= {"held_out": event.held_out}
        own |= {f"fold_class_{what}": value for what, value in event.balance.items()}
        parent = self.client.get_run(self.runs.parent).data.params
        self.writer.params(self.runs.folds[task], parent | own)
        self.log_dataset(self.runs.folds[task])

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
        return self.run(task, name, tags, event.time)

    def _finish(self, task: str, event: Finished, files: FoldFiles) -> None:
        run = self.runs.folds[task]
        best = event.kept_epoch
        facts = {**event.scores, "kept_epoch": best + 1}
        facts["initial_loss"] = files.outcome.history[0].first_loss
        odd = odd_initial_loss(facts["initial_loss"], len(self._classes))
        if odd is not None:
            self.writer.tag(run, "crossfold.notice", odd)
        if task not in self.runs.models:
            name = self._names[int(task)].replace(" ", "-")
            self.runs.models[task] = log_model(files.bundle, name=name, run=run)
            self.remember()
        self.writer.metrics(run, event.time, FINAL, facts, model=self.runs.models[task])
        pages = Pages(self.runs.experiment_id, self.runs.parent)
        epoch, pictures = (
            f"{best + 1} of {len(files.outcome.history)}",
            self._draw(task, best, files),
        )
        note = fold_note(pages, run, epoch, event.scores, pictures)
        self.writer.tag(run, "mlflow.note.content", note)
        if "crossfold.cause" in self.client.get_run(run).data.tags:  # it had failed before
            self.client.delete_tag(run, "crossfold.cause")
        self.client.set_terminated(run, "FINISHED", event.time)
        self.runs.ended.append(task)  # `write` remembers it

    def _draw(self, task: str, best: int, files: FoldFiles) -> list[str]:
        """Log the pictures of a fold; their names."""
        title = f"{self._names[int(task)]}, epoch {best + 1}"
        pictures = {"curves.png": curves_figure(files.outcome.history, best, title)}
        if len(files.labels):
            counts = confusion(files.labels, files.outcome.probabilities)
            pictures["confusion.png"] = confusion_figure(counts, self._classes, title)
        for name, picture in pictures.items():
            self.client.log_figure(self.runs.folds[task], picture, name)
        return list(pictures)
