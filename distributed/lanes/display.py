"""What a user sees while folds are trained: a live table, or plain lines."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from distributed.progress import Shown
from folds.config.stages import Stage, total_epochs
from folds.training.outcome import EpochReport
from tracking.events import EpochEnded, Event, Failed, Finished, Started, content_of


@dataclass
class _Row:
    """The state of one fold on the screen."""

    name: str
    state: str = "waiting"
    epoch: int = 0
    report: EpochReport | None = None
    seconds: float = 0.0


class Display(Shown):
    """Shows events as they come: a table with a row a fold, or a line each.

    Parameters
    ----------
    console : Console
        See `Shown`.
    names : sequence of str
        Names of the folds.
    stages : sequence of Stage
        The schedule.
    lanes : int
        Folds at a time, for the time that is left.
    """

    def __init__(
        self, console: Console, names: Sequence[str], stages: Sequence[Stage], lanes: int
    ) -> None:
        self._stages, self._lanes = stages, lanes
        self._rows = [_Row(name) for name in names]
        self._width = max(map(len, names))
        super().__init__(console)  # which asks for the table

    def show(self, event: Event) -> None:
        """Take in one event."""
        row = self._rows[event.task]
        match event:
            case Started():
                row.state = "training"
            case EpochEnded(report=report):
                row.epoch, row.report = report.epoch + 1, report
                row.seconds += report.seconds
            case Finished():
                row.state = "finished"
            case Failed():
                row.state = "failed"
        content = content_of(event)
        del content["task"]
        self._tell(
            self._line(row, event), {"event": content.pop("kind"), "fold": row.name} | content
        )

    def _line(self, row: _Row, event: Event) -> str:
        head = row.name.ljust(self._width)
        match event:
            case Started():
                parts = f"{event.train} images to train on, {event.held_out} to validate"
                return f"{head}  starts: {parts}"
            case EpochEnded():
                words = zip(_COLUMNS[1:], self._cells(row)[1:], strict=True)
                return f"{head}  " + "  ".join(f"{name} {cell}" for name, cell in words)
            case Finished(scores=scores) if "accuracy" in scores:
                return (
                    f"{head}  finished: epoch {event.kept_epoch + 1}, accuracy "
                    f"{scores['accuracy']:.3f}, macro-F1 {scores['macro_f1']:.3f}"
                )
            case Finished():  # a refit has no validation part
                return f"{head}  finished: {event.kept_epoch + 1} epochs on all images"
            case Failed():
                return f"{head}  failed: {event.cause}"
            case _:  # what is a notice
                return head

    def _table(self) -> Table:
        table = Table(
            caption=self._caption(), caption_justify="left", box=SIMPLE_HEAD, show_edge=False,
            pad_edge=False, padding=(0, 1, 0, 0),
        )  # fmt: skip
        table.add_column(_COLUMNS[0], no_wrap=True)
        for name in _COLUMNS[1:]:
            head = name.replace(" ", "\n").replace("-", "\n").replace("/", "\n/")
            table.add_column(head, justify="right", no_wrap=True)
        for row in self._rows:
            table.add_row(*self._cells(row))
        return table

    def _cells(self, row: _Row) -> list[str]:
        total = total_epochs(self._stages)
        if row.report is None:
            return [row.name, row.state, *[""] * (len(_COLUMNS) - 2)]
        report = row.report
        left = row.seconds / row.epoch * (total - row.epoch) if row.state == "training" else 0.0
        state = f"{report.stage + 1}/{len(self._stages)}"
        return [
            row.name,
            state if row.state == "training" else row.state,
            f"{row.epoch}/{total}",
            f"{report.train_loss:.3f}",
            *map(_known, (report.val_loss, report.val_accuracy, report.val_macro_f1)),
            f"{report.images_per_second:.0f}",
            _minutes(left),
        ]

    def _caption(self) -> str | None:
        if all(row.state in _ENDED for row in self._rows):
            return None
        if not any(row.epoch for row in self._rows):
            return "starting the workers"
        return f"about {_minutes(self._left())} left"

    def _left(self) -> float:
        """Seconds until all folds are trained, from the mean time of an epoch so far."""
        done = sum(row.epoch for row in self._rows)
        total = total_epochs(self._stages)
        to_do = sum(total - row.epoch for row in self._rows if row.state not in _ENDED)
        spent = sum(row.seconds for row in self._rows)
        return spent / done * to_do / self._lanes if done else 0.0


_COLUMNS = ("fold", "stage", "epoch", "train loss", "val loss", "accuracy", "macro-F1",
            "images/s", "left")  # fmt: skip
_ENDED = ("finished", "failed")


def _known(score: float) -> str:
    return "-" if math.isnan(score) else f"{score:.3f}"


def _minutes(seconds: float) -> str:
    return time.strftime("%H:%M:%S" if seconds >= 3600 else "%M:%S", time.gmtime(seconds))
