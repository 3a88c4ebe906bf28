"""Signals in a command's first second, while its modules are imported: one line, and a status.

To be imported before all that takes time. `folds.signals.Interruption` takes over from it. Where
the process is no command of ours it does nothing.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType

from folds.beside_dask import refuse_dask

_OURS = ("distributed", "folds", "tracking")


def _end(number: int, _frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(128 + number)


def _is_command() -> bool:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and spec.name.partition(".")[0] in _OURS


if _is_command():
    refuse_dask(Path(__file__).parents[1] / "distributed")  # dask's hides the check of our own
    for _number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(_number) is not signal.SIG_IGN:
            signal.signal(_number, _end)
