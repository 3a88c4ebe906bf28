"""Signals that end a command: Ctrl-C, SIGTERM, and the terminal that goes away."""

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import ClassVar

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TOGETHER_S = 0.3  # a closed terminal and `timeout` send the same signal twice


class Interruption:
    """A context in which the first signal raises KeyboardInterrupt and a second one ends at once.

    Notes
    -----
    The second one is heard by a thread, since the main one may wait where Python hears nothing; it
    leaves nothing tidied up. What was ignored before (`nohup`, a shell's background) stays ignored.
    """

    advice: ClassVar[str] = ""
    """What a user who interrupts twice is told, such as how to go on."""

    def __init__(self) -> None:
        self._first: int | None = None

    @property
    def heard(self) -> bool:
        """Whether a signal has come."""
        return self._first is not None

    @property
    def status(self) -> int:
        """The exit status, as a shell tells it: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + (self._first or signal.SIGINT)

    def __enter__(self) -> "Interruption":
        read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._interrupt) for number in heard}
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(read,), name="signals", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._write)  # the thread ends

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        if self._first is None:
            self._first = number
            raise KeyboardInterrupt

    def _listen(self, read: int) -> None:
        """Read the numbers of all signals, as they come."""
        first: float | None = None
        while number := os.read(read, 1):
            if number[0] not in SIGNALS:
                continue
            first = first or time.monotonic()
            if time.monotonic() > first + TOGETHER_S:
                self._end(number[0])
        os.close(read)

    def _end(self, number: int) -> None:
        advice = f"; {self.advice}" if self.advice else ""
        print(f"interrupted twice: ended at once{advice}", file=sys.stderr, flush=True)
        os._exit(128 + (self._first or number))
