"""What is seen while a command works: a live table, lines for people, or lines for a program."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from folds.cli import Progress, Screen


class Shown(ABC):
    """A live table, or a line an event, see `folds.cli.Screen`.

    Parameters
    ----------
    console : Console
        One that says nothing of ``--progress`` shows as ``auto`` does.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress = console.progress if isinstance(console, Screen) else "auto"
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._table)

    def __enter__(self) -> Self:
        if self._is_live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_live:
            self._live.stop()

    @property
    def _is_live(self) -> bool:
        return self._progress == "auto" and self._console.is_terminal

    @abstractmethod
    def _table(self) -> Table:
        """What the live table shows now."""

    def _tell(self, line: str, record: Mapping[str, Any]) -> None:
        """Print an event where there is no live table: for people, or the same for a program."""
        if self._progress == "json":
            print(json.dumps(_finite(record), ensure_ascii=False), flush=True)
        elif self._progress != "off" and not self._is_live:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def _finite(value: Any) -> Any:
    """A value as JSON has it: what is no finite number is null."""
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
