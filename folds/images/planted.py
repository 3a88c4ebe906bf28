"""What is planted among the demo's cells: copies of them, and pictures that show none."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from folds.images.cells import SIDE
from folds.images.imageset import ImageSet

COPIES, JUNK = 10, 8
_ROWS, _COLUMNS = np.mgrid[:SIDE, :SIDE] / SIDE

Grey = NDArray[np.floating]


@dataclass(frozen=True)
class Planted:
    """An image among others.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (64, 64, 3)
    name : str
        The class that it is filed under.
    file : str
        Its own name, which says what it is.
    """

    pixels: NDArray[np.uint8]
    name: str
    file: str


def copies(images: ImageSet, rng: np.random.Generator) -> Iterator[Planted]:
    """Some of the pictures again: half of them as they are, half brighter and turned."""
    for number, row in enumerate(rng.choice(len(images), COPIES, replace=False).tolist()):
        name, file = str(images.ids[row]).split("/")
        pixels = images.pixels[row]
        if number % 2:
            pixels = np.rot90(_pixels(pixels * (1.1 / 255)))
        yield Planted(pixels, name, f"copy-of-{file}")


def junk(names: tuple[str, ...], rng: np.random.Generator) -> Iterator[Planted]:
    """What a microscope's camera takes now and then, filed under any class."""
    kinds = (_shutter, _lamp, _micrometer, _fibre)
    for number in range(JUNK):
        grey = kinds[number % len(kinds)](rng)[..., None]
        pixels = _pixels(grey + rng.normal(0, 0.02, (SIDE, SIDE, 3)))
        yield Planted(pixels, names[rng.integers(len(names))], f"junk-{number:02d}")


def _pixels(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _shutter(rng: np.random.Generator) -> Grey:
    """It had not opened: next to nothing, a little more at one side."""
    return 0.03 + 0.05 * rng.random() * _COLUMNS + 0.05 * rng.random() * _ROWS


def _lamp(rng: np.random.Generator) -> Grey:
    """Nothing was in front of it."""
    row, column = rng.uniform(0.3, 0.7, 2)
    return 1.6 * np.exp(-3 * ((_ROWS - row) ** 2 + (_COLUMNS - column) ** 2))


def _micrometer(rng: np.random.Generator) -> Grey:
    """The scale that lengths are measured by."""
    turn = rng.uniform(0, np.pi)
    along = np.cos(turn) * _ROWS + np.sin(turn) * _COLUMNS
    return 0.85 - 0.8 * (along * rng.uniform(6, 12) % 1 < 0.25)


def _fibre(rng: np.random.Generator) -> Grey:
    """A thread of a cloth, out of focus."""
    row, bend, turn = rng.uniform(0.3, 0.7), rng.uniform(0.05, 0.2), rng.uniform(0, 6)
    away = np.abs(_ROWS - row - bend * np.sin(2 * np.pi * _COLUMNS + turn))
    return gaussian_filter(0.9 - 0.85 * (away < 0.12), 1.5)
