"""Images worth looking at, chosen by what was predicted for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from folds.arrays import Floats, Ints
from folds.evaluation.predictions import sum_by_image
from folds.pages.thumbs import thumb

Pixels = Callable[[Ints], NDArray[np.uint8]]
"""Gives the images (n, H, W, 3) of n rows."""
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
    """

    id: str
    picture: str
    true: str
    predicted: str
    confidence: float
    second: str
    second_confidence: float


@dataclass(frozen=True)
class Gallery:
    """Some images out of `total`, which is how many there were to choose from."""

    tiles: Sequence[Tile]
    total: int


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
    images: ImagePredictions, names: Sequence[str], pixels: Pixels, most: int = MOST
) -> Gallery:
    """The images that are predicted wrongly with the greatest confidence.

    Parameters
    ----------
    names : sequence of str, length C
    pixels : callable
        Gives uint8 images (n, H, W, 3) of n rows of the predictions that `average_by_image` was
        given.

    Returns
    -------
    Gallery
        The most confident first; of equals the first. Its total is the number of mistakes.
    """
    predicted = images.probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != images.labels)
    confidence = images.probabilities[wrong].max(axis=1)
    chosen = wrong[np.argsort(-confidence, kind="stable")[:most]]
    return Gallery(_tiles(images, chosen, names, pixels), len(wrong))


def least_certain(
    images: ImagePredictions, names: Sequence[str], pixels: Pixels, most: int = MOST
) -> Gallery:
    """The images whose two most probable classes are the closest, right or wrong.

    Parameters
    ----------
    names : sequence of str, length C
    pixels : callable
        As for `confident_mistakes`.

    Returns
    -------
    Gallery
        The smallest margin first; of equals the first. Its total is the number of images.
    """
    best = np.sort(images.probabilities, axis=1)[:, -2:]
    chosen = np.argsort(best[:, 1] - best[:, 0], kind="stable")[:most]
    return Gallery(_tiles(images, chosen, names, pixels), len(images.rows))


def _tiles(
    images: ImagePredictions, chosen: Ints, names: Sequence[str], pixels: Pixels
) -> list[Tile]:
    if not len(chosen):
        return []
    tiles = []
    for number, image in zip(chosen, pixels(images.rows[chosen]), strict=True):
        likely = images.probabilities[number]
        first, second = np.argsort(-likely, kind="stable")[:2]
        tiles.append(
            Tile(
                id=str(images.ids[number]),
                picture=thumb(image),
                true=names[images.labels[number]],
                predicted=names[first],
                confidence=float(likely[first]),
                second=names[second],
                second_confidence=float(likely[second]),
            )
        )
    return tiles
