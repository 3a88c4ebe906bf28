"""What a user sees while trials race: a live table, or a line for each that ends."""

import time

from rich.console import Console
from rich.table import Table

from distributed.progress import Shown
from distributed.search.trials import Trial
from tracking.search.fields import values_text

_ROWS = 24  # of the table: those under way and those that ended last


class Display(Shown):
    """Shows trials as they go on: a table with a row a trial, or a line for each that ends.

    Parameters
    ----------
    console : Console
        See `Shown`.
    count : int
        Trials in all.
    folds : int
        Of a whole trial.
    title : str
        Of the table; before each line.
    """

    def __init__(self, console: Console, count: int, folds: int, title: str = "") -> None:
        self._count, self._folds, self._title = count, folds, title
        self._trials: dict[int, Trial] = {}
        self._began = time.monotonic()
        super().__init__(console)  # which asks for the table

    def show(self, trial: Trial) -> None:
        """Take in what has happened to a trial."""
        self._trials.pop(trial.number, None)
        self._trials[trial.number] = trial  # the latest come last
        if trial.state != "unfinished":
            known = {"state": trial.state, "values": trial.values, "scores": trial.scores}
            self._tell(self._line(trial), {"event": "trial", "trial": trial.number} | known)

    def _line(self, trial: Trial) -> str:
        head = f"{self._title}trial {trial.number}/{self._count}  {trial.state}"
        score = f"  {trial.mean:.3f} after {len(trial.scores)}/{self._folds} folds"
        why = f": {trial.why}" if trial.why else ""
        return f"{head}{score if trial.scores else ''}{why}  ({values_text(trial.values)})"

    def _table(self) -> Table:
        table = Table(
            title=self._title or None, caption=self._caption(), caption_justify="left", expand=True
        )
        for name in ("trial", "folds", "score", "state"):
            table.add_column(name, justify="left" if name == "state" else "right", no_wrap=True)
        table.add_column("values", overflow="ellipsis", no_wrap=True, ratio=1)  # what is left
        best = self._best()
        for trial in sorted([*self._trials.values()][-_ROWS:], key=lambda one: one.number):
            score = f"{trial.mean:.3f}" if trial.scores else ""
            state = "running" if trial.state == "unfinished" else trial.state
            table.add_row(
                str(trial.number), f"{len(trial.scores)}/{self._folds}", score,
                "best" if trial is best else state, values_text(trial.values),
                style={"stopped": "dim", "failed": "red"}.get(trial.state),
            )  # fmt: skip
        return table

    def _best(self) -> Trial | None:
        done = [trial for trial in self._trials.values() if trial.state == "complete"]
        return max(done, key=lambda trial: trial.mean, default=None)

    def _caption(self) -> str:
        ended = [trial for trial in self._trials.values() if trial.state != "unfinished"]
        minutes, seconds = divmod(round(time.monotonic() - self._began), 60)
        best = self._best()
        known = "" if best is None else f", best {best.mean:.3f} (trial {best.number})"
        return f"{len(ended)} of {self._count} trials after {minutes}:{seconds:02d}{known}"
