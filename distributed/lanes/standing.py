"""Who trains what, in a file: what a ledger whose process was killed must know again."""

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from folds.files import DamagedError, read_values, write_values


@dataclass
class Standing:
    """Which lane has which fold since the driver was started.

    Parameters
    ----------
    start : str
        Of which start of the driver it is; what an earlier one left is of no use.
    first : int
        Events in the journal before that start.
    at : dict of int to int
        Lanes and the folds that they train.
    losses : dict of int to int
        How often a fold has lost its workers.
    calls : dict of int to str
        By lane, its last call for a fold, which Ray may repeat.
    """

    start: str
    first: int
    at: dict[int, int] = field(default_factory=dict)
    losses: dict[int, int] = field(default_factory=dict)
    calls: dict[int, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, start: str, first: int) -> "Standing":
        """That of this start of the driver, where it was begun before, or else a new one."""
        content: dict[str, Any] = {}
        with contextlib.suppress(FileNotFoundError, DamagedError):
            content = read_values(path)
        if content.get("start") != start:
            return cls(start, first)
        at, losses, calls = (
            {int(key): value for key, value in content[name].items()}
            for name in ("at", "losses", "calls")
        )
        return cls(start, content["first"], at, losses, calls)

    def keep(self, missing: Sequence[int]) -> None:
        """Forget folds that have ended, though their lanes have not heard it yet."""
        self.at = {lane: task for lane, task in self.at.items() if task in missing}

    def write(self, path: Path) -> None:
        """Keep it."""
        write_values(path, asdict(self))
