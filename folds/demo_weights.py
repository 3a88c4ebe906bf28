"""Pretrain the small backbone that ``make demo`` starts from: ``python -m folds.demo_weights``.

Its images are rendered cells of random kinds, none of them a class of the demo, as many
laboratories would show them. Minutes on two cores.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from folds import cli
from folds.config import Config
from folds.images import ImageSet
from folds.images.cells import Colour, Laboratory, Lobe, Look, render
from folds.images.imageset import singletons
from folds.model.bundle import saved
from folds.model.weights import DEMO_BACKBONE, DEMO_WEIGHTS
from folds.prepare import prepare
from folds.runtime.device import Runtime
from folds.splits.manifest import fingerprint
from folds.training.fit import fit_fold
from folds.training.outcome import EpochReport

_SEED = 4711
ALIKE = 4  # kinds of the same colours: their shapes must tell them apart


@dataclass
class Options:
    """How many images, and for how long."""

    out: Path = DEMO_WEIGHTS
    """File (.safetensors) for the weights."""
    backbone: str = DEMO_BACKBONE
    """A timm model."""
    kinds: int = 40
    """Kinds of cells to tell apart."""
    each: int = 200
    """Images of each kind."""
    epochs: int = 14
    """Passes over the images."""


def main() -> None:
    """Render, train, write."""
    options = cli.parse(
        Options, sys.argv[1:], prog="python -m folds.demo_weights", description=__doc__ or ""
    )
    config = Config.from_flat({
        "backbone": options.backbone, "weights": "none", "audit": "off", "shift": "off",
        "stages": [f"1:{options.epochs}:3e-3"], "batch_size": 64, "precision": "fp32",
    })  # fmt: skip

    def rendered(*_: object, **__: object) -> ImageSet:
        return strangers(options.kinds, options.each)

    problem = prepare(config, load=rendered).problem
    runtime = Runtime.choose("cpu", "fp32")
    result = fit_fold(problem, 0, 0, runtime=runtime, on_epoch=_tell)
    weights = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in result.weights.items()
        if name.startswith("backbone.")
    }
    options.out.write_bytes(saved(weights, fingerprint(problem.images)))
    print(f"{options.out}: {options.backbone}, accuracy {result.scores['accuracy']:.3f}")


def _tell(report: EpochReport) -> None:
    print(f"epoch {report.epoch + 1}: accuracy {report.val_accuracy:.3f}", flush=True)


def strangers(kinds: int, each: int) -> ImageSet:
    """Render cells of random kinds, each image as another laboratory shows it.

    Returns
    -------
    ImageSet
        ``kinds * each`` images, of classes without names.
    """
    rng = np.random.default_rng(_SEED)
    palettes = [_palette(rng) for _ in range(-(-kinds // ALIKE))]
    looks = [_look(palettes[kind // ALIKE], rng) for kind in range(kinds)]
    labels = np.repeat(np.arange(kinds), each)
    streams = rng.spawn(len(labels))
    pixels = np.stack(
        [render(looks[kind], _laboratory(s), s) for kind, s in zip(labels, streams, strict=True)]
    )
    ids = np.array([f"kind{kind:02d}/{row:05d}" for row, kind in enumerate(labels.tolist())])
    names = tuple(f"kind{kind:02d}" for kind in range(kinds))
    return ImageSet(pixels, labels, names, ids, singletons(ids))


def _palette(rng: np.random.Generator) -> tuple[Colour, Colour, Colour]:
    """Colours of cytoplasm, nucleus and granules."""
    return _colour(rng, 0.6, 0.95), _colour(rng, 0.15, 0.6), _colour(rng, 0.2, 0.9)


def _look(palette: tuple[Colour, Colour, Colour], rng: np.random.Generator) -> Look:
    """A kind of cell."""
    least = rng.uniform(5, 18)
    granules = rng.uniform(5, 60) * (rng.random() < 0.6)
    return Look(
        (least, least * rng.uniform(1.2, 1.5)),
        palette[0],
        palette[1],
        tuple(_nucleus(rng) for _ in range(rng.integers(1, 3))),
        (granules, palette[2], rng.uniform(0.8, 2)),
        rng.uniform(1, 8) * (rng.random() < 0.4),
        rng.uniform(0.01, 0.1),
    )


def _nucleus(rng: np.random.Generator) -> tuple[Lobe, ...]:
    """One to five lobes on a ring, the smaller the more there are."""
    count = int(rng.integers(1, 6))
    size, reach = rng.uniform(0.8, 1.3) / (count + 1) ** 0.75, rng.uniform(0.2, 0.6) * (count > 1)
    angles = np.cumsum(rng.uniform(0.5, 1.0, count)) * 2 * np.pi / count
    return tuple((float(reach * np.cos(a)), float(reach * np.sin(a)), float(size)) for a in angles)


def _colour(rng: np.random.Generator, least: float, greatest: float) -> Colour:
    return tuple(rng.uniform(least, greatest, 3).tolist())


def _laboratory(rng: np.random.Generator) -> Laboratory:
    return Laboratory(
        framing=rng.uniform(0.8, 1.2),
        stain=rng.uniform(0.8, 1.2),
        tint_spread=0.06,
        light=(0.7, 1.12),
        focus=(0.4, 1.4),
    )


if __name__ == "__main__":
    sys.exit(cli.run(main))
