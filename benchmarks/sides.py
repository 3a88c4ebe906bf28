"""The commands that are measured, and which numbers are read from each."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.inputs import BACKBONE, FOLDS, Inputs
from benchmarks.machine import cores
from benchmarks.measure import Finished
from folds.errors import RunError

Numbers = dict[str, Any]
Round = dict[str, Numbers]  # by the side's name
Reader = Callable[[Finished], Numbers]

# 80 training images a fold, which make one batch of 64
DIGITS = (
    "--limit",
    "100",
    "--folds",
    str(FOLDS),
    "--backbone",
    "test_resnet",
    "--batch-size",
    "64",
)
ONE_STEP = ("--data", "digits", "--weights", "none", "--stages", "1:1:1e-3", "--output", "out")


@dataclass(frozen=True)
class Side:
    """A command.

    Parameters
    ----------
    module : str
        Run as ``python -m``.
    flags : callable
        Its command line, of what the earlier sides of the same round gave.
    read : callable
        The numbers it gives, beside ``wall_s``.
    sample : bool
        Whether its processes' memory is sampled.
    """

    module: str
    flags: Callable[[Round], list[str]]
    read: Reader = lambda done: {}
    sample: bool = False

    def measure(self, earlier: Round) -> Numbers:
        """Run it once; raises RunError if it fails or does not give its numbers."""
        if self.module == "distributed.cv":
            measure.remember(tuple(self.flags(earlier)))
        done = measure.run(self.module, self.flags(earlier), sample=self.sample)
        return {"wall_s": round(done.wall_s, 3), **self.read(done)}


def all_sides(inputs: Inputs) -> dict[str, Side]:
    """Every command by name, in the order in which a round runs them."""
    sizes = inputs.sizes
    one_fold = ("--only-folds", "0")
    return {
        "ours": _ours(inputs, sizes.main, scores),
        "plain": _baseline(inputs, sizes.main, "plain_cv"),
        "lightning": _baseline(inputs, sizes.main, "lightning_cv"),
        "skorch": _baseline(inputs, sizes.main, "skorch_cv"),
        "ours-1": _ours(inputs, sizes.main, scores, *one_fold),
        "ours-long": _ours(inputs, sizes.long, scores),
        "plain-long": _baseline(inputs, sizes.long, "plain_cv"),
        "frozen-5": _ours(inputs, sizes.frozen, frozen_stage),
        "frozen-1": _ours(inputs, sizes.frozen, frozen_stage, *one_fold),
        "trainer": _ours(inputs, sizes.trainer, speed, "--concurrent-folds", "1", *one_fold),
        "bare": Side("benchmarks.bare_step", lambda earlier: _bare(inputs, earlier), last_line),
        "fixed": Side("distributed.cv", lambda _: [*DIGITS, *ONE_STEP]),
        "plain-ray": Side("benchmarks.plain_ray", lambda _: [*DIGITS]),
        "many": _sampled(lambda: inputs.many, sizes.many * sizes.side**2 * 3),
        "few": _sampled(lambda: inputs.few, sizes.few * sizes.side**2 * 3),
    }  # fmt: skip


def scores(done: Finished) -> Numbers:
    """Out-of-fold accuracy and macro-F1."""
    return {name: done.find("oof", name) for name in ("accuracy", "macro_f1")}


def last_line(done: Finished) -> Numbers:
    """The line of JSON that a script ends with, but for its own clock."""
    return {name: value for name, value in done.last_line().items() if name != "seconds"}


def frozen_stage(done: Finished) -> Numbers:
    """Seconds of the frozen stage: features for all folds, and heads, lanes side by side."""
    heads = sum(
        done.find("folds", fold, "stage_seconds")[0] for fold in range(len(done.find("folds")))
    )
    shared = done.find("seconds", "shared features")
    return {"frozen_s": shared + heads / done.find("lanes")}


def speed(done: Finished) -> Numbers:
    """Images a second in the last stage, and what the trainer chose to compute with."""
    folds = range(len(done.find("folds")))
    speeds = [done.find("folds", fold, "images_per_second") for fold in folds]
    way = {name: done.find("runtime", name) for name in ("precision", "channels_last", "compiled")}
    return {"images_per_s": statistics.median(speeds), **way}


def _ours(inputs: Inputs, epochs: tuple[int, int], read: Reader, *more: str) -> Side:
    frozen, full = epochs

    def flags(_: Round) -> list[str]:
        return [
            *_common(inputs), "--output", "out", *more,
            "--stages", f"0:{frozen}:1e-3", f"1:{full}:5e-4",
        ]  # fmt: skip

    return Side("distributed.cv", flags, read)


def _baseline(inputs: Inputs, epochs: tuple[int, int], script: str) -> Side:
    frozen, full = epochs

    def flags(_: Round) -> list[str]:
        return [
            *_common(inputs), "--loaders", str(min(cores(), 8)),
            "--frozen", str(frozen), "--full", str(full),
        ]  # fmt: skip

    return Side(f"benchmarks.{script}", flags, last_line)


def _common(inputs: Inputs) -> list[str]:
    sizes = inputs.sizes
    return [
        "--data", str(inputs.data), "--weights", str(inputs.weights), "--backbone", BACKBONE,
        "--limit", str(sizes.images), "--folds", str(FOLDS),
        "--image-size", str(sizes.side), "--batch-size", str(sizes.batch),
    ]  # fmt: skip


def _bare(inputs: Inputs, earlier: Round) -> list[str]:
    sizes, trainer = inputs.sizes, earlier["trainer"]
    return [
        "--backbone", BACKBONE, "--image-size", str(sizes.side), "--batch-size", str(sizes.batch),
        "--precision", trainer["precision"], *(["--compile"] if trainer["compiled"] else []),
        "--threads", str(cores()), "--steps", str(sizes.steps),
    ]  # fmt: skip


def _sampled(archive: Callable[[], Path], pixels: int) -> Side:
    """One epoch over an .npz file: peaks in bytes, and the bytes of its pixels."""

    def flags(_: Round) -> list[str]:
        return [
            "--data", str(archive()), "--folds", "2", "--backbone", "test_resnet",
            "--weights", "none", "--stages", "1:1:1e-3", "--batch-size", "64", "--output", "out",
        ]  # fmt: skip

    def read(done: Finished) -> Numbers:
        if "worker_rss" not in done.peaks:
            raise RunError(f"no process titled {measure.WORKER_TITLE} was seen: name the workers")
        return {**done.peaks, "image_bytes": pixels}

    return Side("distributed.cv", flags, read, sample=True)
