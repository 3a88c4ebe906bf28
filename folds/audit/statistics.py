"""Colours, mean images and sizes of an image set, in one pass over its pixels."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from folds.arrays import Floats
from folds.config import DataConfig
from folds.images import ImageSet
from folds.images.decode import header
from folds.images.pixelfile import pieces
from folds.images.source import files_of


@dataclass(frozen=True)
class Statistics:
    """Numbers of N images of C classes; colours from 0 to 255.

    Parameters
    ----------
    chosen : ndarray of bool, shape (N,)
        Images that stand for their class: the good ones, or all of a class without any.
    mean : ndarray of float32, shape (N, 3)
        Of each image's red, green and blue.
    mean_image : ndarray of uint8, shape (C, H, W, 3)
        Of the chosen images of each class.
    class_mean, class_std : ndarray of float32, shape (C, 3)
        Over all pixels of the chosen images.
    """

    chosen: NDArray[np.bool_]
    mean: Floats
    mean_image: NDArray[np.uint8]
    class_mean: Floats
    class_std: Floats


def statistics(images: ImageSet, good: NDArray[np.bool_]) -> Statistics:
    """Measure colours and mean images of each class for the report.

    Parameters
    ----------
    images : ImageSet
        N images.
    good : ndarray of bool, shape (N,)
        Images that are not junk.
    """
    classes = len(images.class_names)
    chosen = good | (np.bincount(images.labels[good], minlength=classes) == 0)[images.labels]
    total = np.zeros((classes, *images.pixels.shape[1:]))
    mean, std = (np.empty((len(images), 3), dtype=np.float32) for _ in range(2))
    for rows in pieces(images.pixels.shape):
        block = images.pixels[rows].astype(np.float32)
        flat = block.reshape(len(block), -1, 3)
        mean[rows], std[rows] = flat.mean(axis=1), flat.std(axis=1)
        labels = np.where(chosen[rows], images.labels[rows], -1)
        for label in np.unique(labels[labels >= 0]).tolist():
            total[label] += block[labels == label].sum(axis=0)
    count = np.bincount(images.labels[chosen], minlength=classes)
    mean_image = np.round(total / count[:, None, None, None]).astype(np.uint8)
    class_mean, class_std = _pooled(mean, std, np.where(chosen, images.labels, -1), classes)
    return Statistics(chosen, mean, mean_image, class_mean, class_std)


def _pooled(
    mean: Floats, std: Floats, labels: NDArray[np.int64], classes: int
) -> tuple[Floats, Floats]:
    """Mean and standard deviation over all pixels of each class; images of label -1 do not count.

    By the law of total variance: images have equally many pixels.
    """
    parts = [labels == label for label in range(classes)]
    centre = np.stack([mean[part].mean(axis=0) for part in parts])
    within = np.stack([np.square(std[part]).mean(axis=0) for part in parts])
    between = np.stack([mean[part].var(axis=0) for part in parts])
    return centre, np.sqrt(within + between)


def sizes(config: DataConfig, images: ImageSet) -> list[tuple[tuple[int, int], int]]:
    """Width and height of the images, and how many have them; the most frequent first.

    Those of the files, upright, if the sources are folders or tables: decoding may have brought
    their images to one size.
    """
    files = files_of(config, images.ids)
    if len(files) < len(images):  # some of them are in no files
        height, width = images.pixels.shape[1:3]
        return [((width, height), len(images))]
    counts: Counter[tuple[int, int]] = Counter()
    for file in files:
        if found := header(file):
            counts[found.size] += 1
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
