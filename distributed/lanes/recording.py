"""Feeds what has happened to MLflow in order, and waits when the tracker is away."""

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from mlflow.exceptions import MlflowException

from folds.errors import RunError, UserError, counted, disk_full, reason

E = TypeVar("E")
T = TypeVar("T")

RETRY_S = 5.0
PATIENCE_S = 60.0
STOP_S = 20.0
TELL_S = 10.0
PATIENCE = "CROSSFOLD_TRACKER_PATIENCE"

# What MLflow refuses for good: to go on would end in the same way.
PERMANENT = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "PERMISSION_DENIED", "UNAUTHENTICATED"}


def patience() -> float:
    """Seconds that the end of a run waits for a tracker that takes nothing.

    Raises
    ------
    UserError
        The environment variable that gives them is no number.
    """
    given = os.environ.get(PATIENCE, "")
    try:
        return float(given or PATIENCE_S)
    except ValueError:
        raise UserError(f"{PATIENCE}={given}: must be seconds, as 60") from None


def permanent(error: BaseException) -> bool:
    """Whether trying again would end in the same way."""
    refused = isinstance(error, MlflowException) and error.error_code in PERMANENT
    return refused or disk_full(error)


def patiently(call: Callable[[], T], notify: Callable[[str], None]) -> T:
    """Call what writes to the tracker, again and again where that is away, see `patience`.

    Parameters
    ----------
    call : callable
        May be called twice.
    notify : callable
        Tells the user one line.
    """
    last = time.monotonic() + patience()
    told = False
    while True:
        try:
            return call()
        except (MlflowException, OSError) as error:
            if permanent(error) or time.monotonic() >= last:
                raise
            if not told:
                notify(f"the tracker does not answer ({reason(error)}); trying again")
                told = True
        time.sleep(max(0.0, min(RETRY_S, last - time.monotonic())))


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
    remedy : str
        What writes the events that are left, once the tracker answers again; a clause.
    """

    def __init__(
        self,
        write: Callable[[E], None],
        place: str,
        notify: Callable[[str], None],
        remedy: str = "--resume sends them when it answers again",
    ) -> None:
        self._send, self._place, self._notify, self._remedy = write, place, notify, remedy
        self._patience = patience()
        self._queue: queue.Queue[E | None] = queue.Queue()
        self._closing, self._stopping = threading.Event(), threading.Event()
        self._unwritten: list[E] = []
        self._reason, self._full = "", False
        self._alive = 0.0  # when it was last known that waiting helps
        self._thread = threading.Thread(target=self._run, name="scribe", daemon=True)
        self._thread.start()

    def take(self, events: Sequence[E]) -> None:
        """Put events behind the others."""
        for event in events:
            self._queue.put(event)

    def close(self) -> None:
        """Wait until everything is written, for as long as something is.

        Raises
        ------
        RunError
            The tracker took nothing for so long; the events stay in the journal.
        """
        self._queue.put(None)
        self._alive = time.monotonic()
        self._closing.set()
        self._thread.join(TELL_S)
        if self._thread.is_alive():
            left = counted(self._queue.qsize(), "event")
            self._notify(f"waiting for {self._place}, which has not taken {left} yet")
        self._thread.join()
        self.check()
        if self._unwritten:
            events = counted(len(self._unwritten), "event")
            raise RunError(
                f"{events} could not be written to {self._place} ({self._reason}); they are kept: "
                f"{self._remedy}"
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
        told = False
        while True:
            try:
                self._send(event)
                self._alive = time.monotonic()
                return True
            except Exception as error:  # MlflowException, or what the store's driver raises
                self._reason, self._full = reason(error), disk_full(error)
            if self._full:  # each try would leave more behind
                return False
            if not told:
                self._notify(f"the tracker does not take events ({self._reason}); trying again")
                told = True
            if self._stopping.is_set() or not self._wait():
                return False

    def _wait(self) -> bool:
        """Wait until the next try; False where there shall be none."""
        if not self._closing.is_set():
            self._closing.wait(RETRY_S)
            return True
        left = self._alive + self._patience - time.monotonic()
        return left > 0 and not self._stopping.wait(min(RETRY_S, left))
