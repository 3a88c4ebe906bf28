"""Show where a short command's seconds go: ``python -m benchmarks.startup``.

Runs ``distributed.cv`` in an empty folder (five folds of one step, unless flags are given behind
``--``) and tells of each of its processes when it was there and how long it kept a core busy, and
of the command itself how long its phases took.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from folds import cli
from folds.errors import RunError

ONE_STEP = (
    "--data", "digits", "--limit", "100", "--backbone", "test_resnet", "--weights", "none",
    "--stages", "1:1:1e-3", "--batch-size", "80", "--shift", "off",
)  # fmt: skip
_SAMPLE_S = 0.05
_SEEN_S = 0.2  # CPU time below which a process is not told of
_NAMES = ("raylet", "gcs_server", "log_monitor", "dashboard", "plasma_store")


@dataclass
class Seen:
    """A process while it was there: seconds since the start, of CPU time, and bytes at most."""

    name: str
    first: float
    last: float = 0.0
    cpu: float = 0.0
    rss: int = 0


def parser() -> argparse.ArgumentParser:
    """Make the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.startup", description=(__doc__ or "").replace("``", "")
    )
    made.add_argument("flags", nargs="*", help="of distributed.cv, behind --")
    return made


def main() -> None:
    """Print the processes in the order in which they came, and the command's phases."""
    flags = parser().parse_args().flags or list(ONE_STEP)
    with tempfile.TemporaryDirectory(prefix="crossfold-startup-") as folder:
        seen, wall, phases = _watched(flags, Path(folder))
    print(f"{'process':32}{'from':>8}{'to':>8}{'CPU s':>8}{'MB':>7}")
    for one in sorted(seen, key=lambda one: one.first):
        if one.cpu >= _SEEN_S:
            times = f"{one.first:8.1f}{one.last:8.1f}{one.cpu:8.1f}"
            print(f"{one.name[:31]:32}{times}{one.rss / 1e6:7.0f}")
    total = sum(one.cpu for one in seen)
    print(f"{'all':32}{0.0:8.1f}{wall:8.1f}{total:8.1f}   of {os.cpu_count()} cores")
    print("phases   " + ", ".join(f"{name} {value:.1f} s" for name, value in phases.items()))


def _watched(flags: list[str], folder: Path) -> tuple[list[Seen], float, dict[str, float]]:
    """Run the command, sampling its processes."""
    start = time.perf_counter()
    with (folder / "log").open("w") as log:
        command = subprocess.Popen(
            [sys.executable, "-m", "distributed.cv", *flags, "--output", "out"],
            cwd=folder, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        seen: dict[int, Seen] = {}
        while command.poll() is None:
            for process in _family(command.pid):
                with suppress(psutil.Error):
                    _sample(seen, process, time.perf_counter() - start)
            time.sleep(_SAMPLE_S)
    wall = time.perf_counter() - start
    if command.returncode != 0:
        last = (folder / "log").read_text().strip().splitlines()[-1:]
        raise RunError(f"distributed.cv ended with status {command.returncode}: {''.join(last)}")
    summary = json.loads((folder / "out" / "summary.json").read_text(encoding="utf-8"))
    return list(seen.values()), wall, summary["seconds"]


def _family(pid: int) -> Iterator[psutil.Process]:
    with suppress(psutil.Error):
        own = psutil.Process(pid)
        yield own
        yield from own.children(recursive=True)


def _sample(seen: dict[int, Seen], process: psutil.Process, now: float) -> None:
    one = seen.setdefault(process.pid, Seen("", now))
    words = process.cmdline()  # a worker is renamed when it is given its work
    one.name = _name(words) or one.name
    times = process.cpu_times()
    one.last, one.cpu = now, times.user + times.system
    one.rss = max(one.rss, process.memory_info().rss)


def _name(words: list[str]) -> str:
    """What people call the process."""
    if not words:
        return ""
    if words[0].startswith("ray::"):
        return words[0]
    known = (name for name in _NAMES if any(name in word for word in words))
    module = words[words.index("-m") + 1] if "-m" in words[:-1] else Path(words[-1]).name
    return next(known, module if "-m" in words else Path(words[0]).name)


if __name__ == "__main__":
    sys.exit(cli.run(main))
