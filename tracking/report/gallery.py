"""Images worth looking at, chosen by what was predicted for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from folds.arrays import Floats, Ints
from folds.evaluation.predictions import sum_by_image
from folds.pages.thumbs import overlay, thumb

Pixels = Callable[[Ints], NDArray[np.uint8]]
"""Gives the images (n, H, W, 3) of n rows."""
HeatMaps = Callable[[Ints, NDArray[np.uint8], Ints], Floats | None]
"""Gives of n rows, their images (n, H, W, 3) and classes (n,) maps (n, side, side) of what spoke
for the class, see `folds.pages.thumbs.overlay`; None: there are none."""
MOST = 24  # images of a gallery


@dataclass(frozen=True)
class Tile:
    """An image with what was predicted for it.

    Parameters
    ----------
    picture : str
        Data URI.
    true, predicted : str
        Names of classes.
    confidence : float
        Probability of the predicted class.
    second, second_confidence : str, float
        The class that came next.
    heat : str, optional
        Data URI of the image with a map of what spoke for the predicted class.
    """

    id: str
    picture: str
    true: str
    predicted: str
    confidence: float
    second: str
    second_confidence: float
    heat: str | None = None


@dataclass(frozen=True)
class Gallery:
    """Some images out of `total`, which is how many there were to choose from."""

    tiles: Sequence[Tile]
    total: int

    @property
    def heated(self) -> bool:
        """Whether its tiles have heat maps."""
        return any(tile.heat is not None for tile in self.tiles)


@dataclass(frozen=True)
class ImagePredictions:
    """What is thought of each of N images, whatever the number of its predictions.

    Parameters
    ----------
    rows : ndarray of int64, shape (N,)
        The first prediction of each image, ascending.
    ids : ndarray of str, shape (N,)
    labels : ndarray of int64, shape (N,)
    probabilities : ndarray of float64, shape (N, C)
        Means over an image's predictions.
    """

    rows: Ints
    ids: NDArray[np.str_]
    labels: Ints
    probabilities: NDArray[np.float64]


def average_by_image(
    labels: Ints, probabilities: Floats, ids: NDArray[np.str_]
) -> ImagePredictions:
    """Average the predictions of each image over the repeats.

    Parameters
    ----------
    labels : ndarray of int64, shape (M,)
    probabilities : ndarray of float32, shape (M, C)
    ids : ndarray of str, shape (M,)
        Equal ids are one image.
    """
    images = sum_by_image(ids, probabilities)
    order = np.argsort(images.first)
    rows = images.first[order]
    means = images.sums / images.counts[:, None]
    return ImagePredictions(rows, ids[rows], labels[rows], means[order])


def confident_mistakes(
    images: ImagePredictions,
    names: Sequence[str],
    pixels: Pixels,
    heat: HeatMaps | None = None,
    most: int = MOST,
) -> Gallery:
    """The images that are predicted wrongly with the greatest confidence.

    Parameters
    ----------
    names : sequence of str, length C
    pixels : callable
        Gives uint8 images (n, H, W, 3) of n rows of the predictions that `average_by_image` was
        given.
    heat : callable, optional
        Gives heat maps of such rows.

    Returns
    -------
    Gallery
        The most confident first; of equals the first. Its total is the number of mistakes.
    """
    predicted = images.probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != images.labels)
    confidence = images.probabilities[wrong].max(axis=1)
    chosen = wrong[np.argsort(-confidence, kind="stable")[:most]]
    return Gallery(_tiles(images, chosen, names, pixels, heat), len(wrong))


def least_certain(
    images: ImagePredictions,
    names: Sequence[str],
    pixels: Pixels,
    heat: HeatMaps | None = None,
    most: int = MOST,
) -> Gallery:
    """The images whose two most probable classes are the closest, right or wrong.

    Parameters
    ----------
    names : sequence of str, length C
    pixels, heat : callable
        As for `confident_mistakes`.

    Returns
    -------
    Gallery
        The smallest margin first; of equals the first. Its total is the number of images.
    """
    best = np.sort(images.probabilities, axis=1)[:, -2:]
    chosen = np.argsort(best[:, 1] - best[:, 0], kind="stable")[:most]
    return Gallery(_tiles(images, chosen, names, pixels, heat), len(images.rows))


def _tiles(
    images: ImagePredictions,
    chosen: Ints,
    names: Sequence[str],
    pixels: Pixels,
    heat: HeatMaps | None,
) -> list[Tile]:
    if not len(chosen):
        return []
    rows, likeliest = images.rows[chosen], np.argsort(-images.probabilities[chosen], kind="stable")
    pictures = pixels(rows)
    maps = None if heat is None else heat(rows, pictures, likeliest[:, 0])
    tiles = []
    for place, (number, image) in enumerate(zip(chosen, pictures, strict=True)):
        likely = images.probabilities[number]
        first, second = likeliest[place, :2]
        tiles.append(
            Tile(
                id=str(images.ids[number]),
                picture=thumb(image),
                true=names[images.labels[number]],
                predicted=names[first],
                confidence=float(likely[first]),
                second=names[second],
                second_confidence=float(likely[second]),
                heat=None if maps is None else overlay(image, maps[place]),
            )
        )
    return tiles
