"""Habits of Ray that a command cannot do with, changed before it is started in its process."""

import contextlib
import ctypes
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from folds.errors import masked

_LOST = "A worker died or was killed"


@contextlib.contextmanager
def own_sigterm() -> Iterator[None]:
    """Keep SIGTERM, which Ray takes twice: its core to print a stack trace, its Python to exit.

    Notes
    -----
    `signal.signal` gives it back in the main thread alone, and Ray may be started by another, where
    its Python does not take it either.
    """
    get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_int)(("PyOS_getsig", ctypes.pythonapi))
    put = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(
        ("PyOS_setsig", ctypes.pythonapi)
    )
    before, handler = get(signal.SIGTERM), signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
        put(signal.SIGTERM, before)


def hide_losses() -> None:
    """Have Ray tell of no lost worker itself: the ledger counts them, and we tell."""
    from ray._private import worker

    plain = worker.print_to_stdstream

    def all_else(data: dict[str, Any], **options: Any) -> None:
        if not str(data["lines"][0]).startswith(_LOST):
            plain(data, **options)

    worker.print_to_stdstream = all_else


def spawn_without_fork() -> None:
    """Have Ray start its processes with `Spawn`."""
    from ray._private import services

    if sys.platform == "linux":
        services.ConsolePopen = Spawn


class Spawn(subprocess.Popen[bytes]):
    """Starts a process without running Python between fork and exec.

    Ray does run some, to have its processes end with ours. Then all of the process is forked, for
    which OpenBLAS first ends its threads; where the main thread is just multiplying matrices, both
    wait for ever. Without, `subprocess` takes vfork, which libraries do not see, and what Ray wants
    is done by an interpreter that then becomes the process.
    """

    def __init__(
        self, command: Sequence[str], *, preexec_fn: object = None, **options: Any
    ) -> None:
        if preexec_fn is not None:
            command = [sys.executable, "-I", "-S", "-c", _BECOME, *command]
        super().__init__(command, **options)


_BECOME = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
os.execvp(sys.argv[1], sys.argv[1:])
"""


def hide_command_line() -> None:
    """Have Ray, which lists every driver's command line, list ours without passwords."""
    from ray._private import utils

    utils.get_entrypoint_name = lambda: masked(shlex.join(sys.argv))
