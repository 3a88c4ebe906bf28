"""Whole commands timed from start to exit, each in an empty folder, their memory sampled."""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import psutil

from folds.errors import RunError

ROOT = Path(__file__).resolve().parents[1]
SAMPLE_S = 0.1
WORKER_TITLE = "RayTrainWorker"
_ELSEWHERE = ("RAY_ADDRESS", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")


@dataclass(frozen=True)
class Finished:
    """A command that has ended well.

    Parameters
    ----------
    wall_s : float
        Seconds from starting the process to its exit.
    output : str
        What it printed.
    summary : dict
        ``out/summary.json``, empty if it wrote none.
    peaks : dict of str to float
        Of `Peaks.bytes`; empty if memory was not sampled.
    """

    wall_s: float
    output: str
    summary: dict[str, Any]
    peaks: dict[str, float]

    def last_line(self) -> dict[str, float]:
        """Numbers in the line of JSON that the baselines end with."""
        lines = [line for line in self.output.splitlines() if line.startswith("{")]
        if not lines:
            raise RunError(f"no line of JSON in what was printed: {self.output[-200:]!r}")
        return dict(json.loads(lines[-1]))

    def find(self, *keys: str | int) -> Any:
        """Value at a path of the summary.

        Raises
        ------
        RunError
            This crossfold writes no such value.
        """
        value: Any = self.summary
        for depth, key in enumerate(keys):
            try:
                value = value[key]
            except (KeyError, IndexError):
                path = ".".join(map(str, keys[: depth + 1]))
                raise RunError(
                    f"summary.json has no {path!r}, which this row needs: measure a newer "
                    "crossfold, or leave the row out with --rows"
                ) from None
        return value


def run(module: str, flags: Sequence[str], *, sample: bool = False) -> Finished:
    """Run ``python -m module`` of this checkout in an empty folder of its own.

    Parameters
    ----------
    module : str
        What to run; a flag of ``out`` makes it write its files there.
    flags : sequence of str
        Its command line.
    sample : bool
        Sample the memory of its processes, which costs it some time.

    Raises
    ------
    RunError
        It ended with another status than 0; says the last thing it printed.
    """
    with tempfile.TemporaryDirectory(prefix="crossfold-bench-") as folder:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", module, *flags], cwd=folder, env=_environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            peaks = Peaks(process.pid) if sample else None
            output, errors = process.communicate()
        finally:
            process.terminate()  # after Ctrl-C here; one that has ended does not mind
        wall = time.perf_counter() - start
        if process.returncode != 0:
            told = _last_words(errors) or _last_words(output) or "nothing printed"
            raise RunError(f"{module} ended with status {process.returncode}: {told}")
        path = Path(folder, "out", "summary.json")
        summary = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return Finished(wall, output, summary, peaks.stop() if peaks else {})


def _last_words(text: str, most: int = 300) -> str:
    """The end of what was printed, in one line and without the frames drawn around it."""
    words = re.sub("[─-╿]", " ", text).split()
    return " ".join(words)[-most:]


@cache
def _cache() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="crossfold-bench-cache-")


@cache
def remember(flags: tuple[str, ...]) -> None:
    """Let ``distributed.cv --plan`` find out, once, what its run will remember."""
    run("distributed.cv", [*flags, "--plan"])


def _environment() -> dict[str, str]:
    """This process's, with this checkout on the import path and no cluster or tracker of others.

    What crossfold remembers of a machine (the answers of `folds.runtime.probe`) is this process's
    own: found out by `remember` on an idle machine, not by some earlier run on a busy one.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": _cache().name,
        "MPLCONFIGDIR": matplotlib.get_cachedir(),
    }


@dataclass
class Peaks:
    """Samples the memory of a command's processes until it is stopped.

    Parameters
    ----------
    pid : int
        The command's process, here called the driver. Workers are its descendants whose title
        contains `WORKER_TITLE`.

    Notes
    -----
    Counted are resident pages (RSS), among them those that are shared: Ray's object store and
    libraries count fully for each process that has touched them. Unique pages (USS), which leave
    these out, stand beside. Every figure is the greatest of any sample; of several workers, the
    greatest of any worker.
    """

    pid: int
    bytes: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, float]:
        """End sampling; ``{driver,worker}_{rss,uss}`` in bytes."""
        self._done.set()
        self._thread.join()
        return self.bytes

    def _watch(self) -> None:
        while not self._done.wait(SAMPLE_S):
            with suppress(psutil.NoSuchProcess):
                driver = psutil.Process(self.pid)
                self._take("driver", driver)
                for child in driver.children(recursive=True):
                    self._take_worker(child)

    def _take_worker(self, process: psutil.Process) -> None:
        with suppress(psutil.Error):
            if any(WORKER_TITLE in word for word in process.cmdline()):
                self._take("worker", process)

    def _take(self, who: str, process: psutil.Process) -> None:
        with suppress(psutil.Error):
            memory = process.memory_full_info()
            for kind in ("rss", "uss"):
                name = f"{who}_{kind}"
                self.bytes[name] = max(self.bytes.get(name, 0.0), float(getattr(memory, kind)))
