"""How time and memory grow with the images, the folds and the machines: whole commands.

Each command trains test_resnet for one epoch a fold on images of 96 px from an .npz file, whose
pictures repeat, and leaves every default on but the audit, which would take the copies out. A
cluster of two nodes is two Ray nodes on this machine, with half of its cores each.

Run: python -m benchmarks.growth --data images/ --out benchmarks/GROWTH.md
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import measure
from benchmarks.inputs import archived, at_least
from benchmarks.machine import cores, hardware, versions
from folds import cli
from folds.errors import RunError

IMAGES, FOLDS, NODES = (500, 2_000, 8_000, 32_000), (2, 5, 10, 20), (1, 2)
SIDE, SMALL, FEW_FOLDS, MORE_FOLDS = 96, 2_000, 2, 10


@dataclass(frozen=True)
class Point:
    """What one command took.

    Parameters
    ----------
    images, folds, nodes : int
    wall, training : float
        Seconds from start to exit, and of them those in which folds are trained.
    driver, worker : float
        Greatest resident bytes of the command's process, and of a worker.
    """

    images: int
    folds: int
    nodes: int
    wall: float
    training: float
    driver: float
    worker: float


def parser() -> argparse.ArgumentParser:
    """Make the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.growth", description=(__doc__ or "").splitlines()[0]
    )
    made.add_argument("--data", type=Path, required=True, help="folder of class folders")
    made.add_argument("--out", type=Path, help="markdown file to write")
    made.add_argument("--images", type=int, nargs="*", default=IMAGES)
    made.add_argument("--folds", type=int, nargs="*", default=FOLDS)
    made.add_argument("--nodes", type=int, nargs="*", default=NODES)
    return made


def main() -> None:
    """Measure, print a table and write it."""
    options = parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="crossfold-growth-") as folder:
        points = list(_points(options, Path(folder)))
    text = _page(points)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


def _points(options: argparse.Namespace, folder: Path) -> Iterator[Point]:
    images = at_least(min(IMAGES), options.data)
    for count in options.images:
        yield _measured(archived(images, count, folder / "some.npz"), count, FEW_FOLDS, nodes=1)
    small = archived(images, SMALL, folder / "small.npz")
    for folds in options.folds:
        yield _measured(small, SMALL, folds, nodes=1)
    for nodes in options.nodes:
        with _cluster(nodes) as address:
            yield _measured(small, SMALL, MORE_FOLDS, nodes, "--address", address)


def _measured(archive: Path, images: int, folds: int, nodes: int, *more: str) -> Point:
    done = measure.run("distributed.cv", [*_flags(archive, folds), *more], sample=True)
    print(f"{images:,} images, {folds} folds, {nodes} nodes: {done.wall_s:.1f} s", flush=True)
    driver, worker = (done.peaks.get(f"{who}_rss", np.nan) for who in ("driver", "worker"))
    training = float(done.find("seconds", "training"))
    return Point(images, folds, nodes, done.wall_s, training, driver, worker)


def _flags(archive: Path, folds: int) -> list[str]:
    return [
        "--data", str(archive), "--folds", str(folds), "--backbone", "test_resnet", "--audit",
        "off", "--weights", "none", "--stages", "1:1:1e-3", "--batch-size", "64", "--output", "out",
    ]  # fmt: skip


@contextmanager
def _cluster(nodes: int) -> Iterator[str]:
    """A Ray cluster of some nodes on this machine; all that was started ends with the block."""
    here, port = "127.0.0.1", 6399
    address = f"{here}:{port}"
    each = ["--node-ip-address", here, "--num-cpus", str(cores() // nodes), "--block"]
    ray = [str(Path(sys.executable).with_name("ray")), "start"]
    head = [*ray, "--head", "--port", str(port), "--include-dashboard", "false", *each]
    others = [[*ray, "--address", address, *each]] * (nodes - 1)
    os.environ["RAY_AUTH_MODE"] = "disabled"  # nobody else reaches it, nor has its token
    running = []
    try:
        for command in (head, *others):
            running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
            _wait(address, len(running))
        yield address
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()


def _wait(address: str, nodes: int) -> None:
    """Return when so many nodes have joined."""
    code = (
        "import sys, time, ray\n"
        f"ray.init(address={address!r}, log_to_driver=False)\n"
        f"until = time.monotonic() + 60\n"
        f"while len(ray.nodes()) < {nodes} and time.monotonic() < until: time.sleep(0.2)\n"
        f"sys.exit(len(ray.nodes()) < {nodes})"
    )
    for _ in range(5):  # the head needs some seconds
        if subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0:
            return
    raise RunError(f"a Ray cluster of {nodes} nodes did not start at {address}")


def _page(points: Sequence[Point]) -> str:
    about = [f"{name} {value}" for name, value in (hardware() | versions()).items()]
    lines = [
        "# How time and memory grow",
        "",
        f"{', '.join(about)}. One run each; test_resnet, {SIDE} px, batch 64, one epoch a fold, "
        "no audit, all other defaults on. Memory: the greatest resident set.",
        "",
        "| images | folds | nodes | whole command, s | training, s | command, MB | a worker, MB |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {p.images:,} | {p.folds} | {p.nodes} | {p.wall:.1f} | {p.training:.1f} "
        f"| {p.driver / 1e6:,.0f} | {p.worker / 1e6:,.0f} |"
        for p in points
    ]
    by_images = [p for p in points if (p.folds, p.nodes) == (FEW_FOLDS, 1)]
    by_folds = [p for p in points if (p.images, p.nodes) == (SMALL, 1)]
    for some, by in ((by_images, "images"), (by_folds, "folds")):
        if len({getattr(point, by) for point in some}) > 1:
            lines += ["", f"Exponents b of a * x^b, fitted by {by}: {_exponents(some, by)}."]
    return "\n".join(lines)


def _exponents(points: Sequence[Point], by: str) -> str:
    found = (
        f"{what} {_exponent([getattr(p, by) for p in points], [getattr(p, what) for p in points])}"
        for what in ("wall", "training", "driver", "worker")
    )
    return ", ".join(found)


def _exponent(xs: Sequence[float], ys: Sequence[float]) -> str:
    slope, _ = np.polyfit(np.log(xs), np.log(ys), 1)
    return f"{slope:.2f}"


if __name__ == "__main__":
    sys.exit(cli.run(main))
