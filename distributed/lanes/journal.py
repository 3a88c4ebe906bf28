"""The journal of a run as the ledger keeps it: each event once, each line whole."""

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from folds.files import write_whole
from folds.training.attempt import FIRST, Attempt
from tracking.events import EpochEnded, Event, Lost, Retried, lost, read_journal, to_line


class Journal:
    """What has happened, in memory and in a file.

    Parameters
    ----------
    path : Path
        The file; what is there is read.
    written : int
        Events that the Recorder has seen: fewer in the file means that its end is lost.

    Notes
    -----
    An event is in the journal once: (kind, fold, epoch) names it, so what a restarted worker
    tells again is dropped. A fold that is tried otherwise (`Retried`) has other numbers in the
    epochs that it trains again, so these are told again.
    """

    def __init__(self, path: Path, written: int = 0) -> None:
        self._path = path
        self.events = read_journal(path)
        self.events += [Lost()] * (written - len(self.events))
        self._keys: set[tuple[object, ...]] = set()
        self._attempts: dict[int, Attempt] = {}

    @property
    def lost(self) -> bool:
        """Whether events are missing."""
        return lost(self.events) > 0

    def attempt(self, task: int) -> Attempt:
        """How a fold is to be tried now."""
        return self._attempts.get(task, FIRST)

    def mend(self, forget: Callable[[Event], bool]) -> None:
        """Write the file anew, which may end with half a line, and take in what it says.

        Parameters
        ----------
        forget : callable
            Whether an event may be told again.
        """
        lines = "".join(to_line(event, number) for number, event in enumerate(self.events))
        write_whole(self._path, lines.encode())
        for event in self.events:
            if not forget(event):
                self._note(event)

    def record(self, event: Event) -> None:
        """Add an event, with the time at which it came; one that is there is dropped."""
        if _key(event) in self._keys:
            return
        event = replace(event, time=int(time.time() * 1000))
        self._append(to_line(event, len(self.events)))
        self._note(event)
        self.events.append(event)

    def _note(self, event: Event) -> None:
        """Keep what an event says in mind."""
        if not isinstance(event, Retried):
            self._keys.add(_key(event))
            return
        attempt = Attempt(event.parts, event.rate)
        if attempt != self.attempt(event.task):  # else epochs come as they came
            self._attempts[event.task] = attempt
            self._keys -= {key for key in self._keys if key[:2] == (EpochEnded, event.task)}

    def _append(self, line: str) -> None:
        """Add a whole line to the file, or nothing of it."""
        with self._path.open("ab", buffering=0) as file:
            end, content = file.tell(), line.encode()
            try:
                while content:
                    content = content[file.write(content) :]
                os.fsync(file)
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(end)
                raise


def _key(event: Event) -> tuple[object, ...]:
    """What an event is told apart by, so that it is in the journal once."""
    return type(event), event.task, event.report.epoch if isinstance(event, EpochEnded) else None
