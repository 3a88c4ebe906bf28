"""The images and weights that the commands are given."""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from folds.arrays import Ints
from folds.config import DataConfig
from folds.errors import UserError
from folds.images import ImageSet, load
from folds.images.external import load_externals
from folds.model.bundle import ModelCard
from folds.model.mixture import MixtureCard


def settings_of(texts: Iterable[str]) -> dict[str, Any]:
    """Settings by flag name of texts as ``audit=off`` or ``stages=[0:1:1e-3,1:8:1e-3]``."""
    each = (text.partition("=")[::2] for text in texts)
    return {
        name.replace("-", "_"): value.strip("[]").split(",") if value.startswith("[") else value
        for name, value in each
    }


@dataclass(frozen=True)
class Place:
    """Images that a model was not trained on.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (N, S, S, 3)
    labels : ndarray of int64, shape (N,)
        Numbers of the model's classes.
    """

    pixels: NDArray[np.uint8]
    labels: Ints


def place_parser(name: str, about: str | None) -> argparse.ArgumentParser:
    """The command line of a benchmark that asks a model about `places`."""
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=(about or "").splitlines()[0]
    )
    made.add_argument("--model", type=Path, required=True, help="a bundle's folder")
    made.add_argument("--data", required=True, help="images of its laboratory")
    made.add_argument("--trained-on", type=int, required=True, help="--images of its training")
    made.add_argument("--seed", type=int, default=0, help="of its training")
    made.add_argument("--external", nargs="*", default=[], help="NAME=SOURCE")
    return made


def places(card: ModelCard | MixtureCard, asked: argparse.Namespace) -> dict[str, Place]:
    """Images of a model's laboratory ("home") that it was not trained on, and of others.

    Parameters
    ----------
    card : ModelCard or MixtureCard
        The model's.
    asked : Namespace
        Of `place_parser`.
    """
    config = DataConfig(data=asked.data)
    trained, home = (
        load(config.model_copy(update={"limit": limit}), seed=asked.seed, largest=card.size)
        for limit in (asked.trained_on, None)
    )
    rows = np.flatnonzero(~np.isin(home.ids, trained.ids))
    sources = dict(text.partition("=")[::2] for text in asked.external)
    others = load_externals(sources, tuple(card.class_names), config, size=card.size)
    return {"home": Place(home.pixels[rows], home.labels[rows])} | {
        other.name: Place(other.images.pixels[:], other.images.labels) for other in others
    }


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Parameters
    ----------
    images, side, batch : int
        Images, their side in pixels, and images a step, of a run.
    main, long, frozen, trainer : tuple of int
        Epochs of the head alone, and of everything, of the runs that are compared.
    steps : int
        Steps of the bare loop that are timed.
    many, few : int
        Images of the two runs whose memory is compared.
    """

    images: int
    side: int
    batch: int
    main: tuple[int, int]
    long: tuple[int, int]
    frozen: tuple[int, int]
    trainer: tuple[int, int]
    steps: int
    many: int
    few: int


FULL = Sizes(2000, 96, 64, (3, 5), (10, 2), (10, 1), (1, 3), 100, 17_000, 500)
QUICK = Sizes(400, 64, 32, (1, 1), (3, 1), (3, 1), (1, 4), 20, 2_000, 200)
BACKBONE = "mobilenetv2_100"
FOLDS = 5


def at_least(count: int, data: Path) -> ImageSet:
    """Images of a folder of class folders, at 96 pixels at most.

    Raises
    ------
    UserError
        They are fewer than so many.
    """
    images = load(DataConfig(data=str(data)), seed=0, largest=96)
    if len(images) < count:
        raise UserError(f"--data {data}: {len(images)} images are too few; name fewer")
    return images


def archived(images: ImageSet, count: int, path: Path) -> Path:
    """Write so many images to an .npz file, over and over where there are fewer."""
    rows = np.arange(count) % len(images)
    np.savez(path, images=images.pixels[rows], labels=images.labels[rows])
    return path


class Inputs:
    """Images and weights; what is not given is made on first use.

    Parameters
    ----------
    folder : Path
        Where made files go.
    sizes : Sizes
    data, weights : Path, optional
        A folder of class folders, and a .safetensors file of `BACKBONE`. Default: the demo's
        images as PNG files, and random weights, which say nothing about scores.
    """

    def __init__(
        self, folder: Path, sizes: Sizes, *, data: Path | None, weights: Path | None
    ) -> None:
        self.folder, self.sizes = folder, sizes
        self._data, self._weights = data, weights

    @cached_property
    def data(self) -> Path:
        """Folder of class folders."""
        if self._data is not None:
            return self._data
        images = self._load("demo")
        folder = self.folder / "images"
        for name in images.class_names:
            (folder / name).mkdir(parents=True)
        pairs = zip(np.asarray(images.pixels), images.labels, strict=True)
        for row, (pixels, label) in enumerate(pairs):
            Image.fromarray(pixels).save(folder / images.class_names[label] / f"{row:05d}.png")
        return folder

    @cached_property
    def weights(self) -> Path:
        """Weights file of the backbone."""
        if self._weights is not None:
            return self._weights
        path = self.folder / "random.safetensors"
        torch.manual_seed(0)
        save_file(timm.create_model(BACKBONE).state_dict(), path)
        return path

    @cached_property
    def many(self) -> Path:
        """An .npz file of many images: those of the data, repeated."""
        return self._archive("many", self.sizes.many)

    @cached_property
    def few(self) -> Path:
        """An .npz file of a few images."""
        return self._archive("few", self.sizes.few)

    def _archive(self, name: str, count: int) -> Path:
        images = self._load(str(self.data)).limited(count, seed=0)
        return archived(images, count, self.folder / f"{name}.npz")

    def _load(self, source: str) -> ImageSet:
        side = self.sizes.side
        images = load(DataConfig(data=source, image_size=side), seed=0, largest=side)
        if images.pixels.shape[1:3] != (side, side):
            raise UserError(
                f"--data {source}: images of {images.pixels.shape[1]} px; "
                f"give a folder of images of at least {side} px"
            )
        return images
