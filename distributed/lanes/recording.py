"""Feeds what has happened to MLflow in order, and waits when the tracker is away."""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from folds.errors import RunError, disk_full, reason

E = TypeVar("E")

RETRY_S = 5.0
PATIENCE_S = 60.0
STOP_S = 20.0


class RecorderThread(Generic[E]):
    """A thread beside the driver, so that neither training nor the screen waits for MLflow.

    Parameters
    ----------
    write : callable
        Writes one event; called by the thread.
    place : str
        Where to, for people.
    notify : callable
        Tells the user one line.
    """

    def __init__(
        self, write: Callable[[E], None], place: str, notify: Callable[[str], None]
    ) -> None:
        self._send, self._place, self._notify = write, place, notify
        self._queue: queue.Queue[E | None] = queue.Queue()
        self._closing, self._stopping = threading.Event(), threading.Event()
        self._unwritten: list[E] = []
        self._reason, self._full = "", False
        self._thread = threading.Thread(target=self._run, name="scribe", daemon=True)
        self._thread.start()

    def take(self, events: Sequence[E]) -> None:
        """Put events behind the others."""
        for event in events:
            self._queue.put(event)

    def close(self) -> None:
        """Wait until everything is written.

        Raises
        ------
        RunError
            The tracker stayed away for a minute; the events stay in the journal.
        """
        self._queue.put(None)
        self._closing.set()
        self._thread.join()
        self.check()
        if self._unwritten:
            raise RunError(
                f"{len(self._unwritten)} events could not be written to {self._place} "
                f"({self._reason}); they are kept: --resume sends them when it answers again"
            )

    def check(self) -> None:
        """Raise RunError where waiting does not help: the disk is full."""
        if self._full:
            raise RunError(f"{self._place} or its files: {self._reason}")

    def stop(self) -> None:
        """Write the event in hand and no more; the others stay in the journal."""
        self._stopping.set()
        self._closing.set()
        self._queue.put(None)
        self._thread.join(STOP_S)

    def _run(self) -> None:
        away = False
        while (event := self._queue.get()) is not None:
            if away or self._stopping.is_set() or not self._write(event):
                away = True
                self._unwritten.append(event)

    def _write(self, event: E) -> bool:
        """Write one event, trying for as long as the run goes on, and a minute more."""
        closing_for, told = 0.0, False
        while True:
            try:
                self._send(event)
                return True
            except Exception as error:  # MlflowException, or what the store's driver raises
                self._reason, self._full = reason(error), disk_full(error)
            if self._full:  # each try would leave more behind
                return False
            if not told:
                self._notify(f"the tracker does not take events ({self._reason}); trying again")
                told = True
            if closing_for >= PATIENCE_S or self._stopping.is_set():
                return False
            if self._closing.is_set():
                closing_for += RETRY_S
                self._stopping.wait(RETRY_S)
            else:
                self._closing.wait(RETRY_S)
