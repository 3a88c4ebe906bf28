"""A small image set in which everything is wrong that an audit looks for, and what it finds."""

import numpy as np

from folds.audit import Findings
from folds.images import ImageSet
from tests.conftest import small_images

SIDE = 32
FRAME = np.kron(np.indices((8, 8)).sum(axis=0) % 2 * 255, np.ones((4, 4)))[..., None].repeat(3, -1)
REPEATED, CONFLICT, COPY, BRIGHTER = 5, 2, 1, 1


def planted():
    """36 good images, a frame 5 times, static noise, a copy, a brighter copy, a conflict of 3."""
    good = small_images((12, 12, 12), side=SIDE)
    noise = np.random.default_rng(1).choice([0, 255], (SIDE, SIDE, 3))
    brighter = np.clip(good.pixels[1].astype(int) + 12, 0, 255)
    added = [*[FRAME] * REPEATED, noise, good.pixels[0], brighter, good.pixels[2], good.pixels[2]]
    other = (good.labels[2] + 1) % 3
    labels = [0, 1, 2, 0, 1, 2, good.labels[0], good.labels[1], other, other]
    pixels = np.concatenate([good.pixels, np.stack(added).astype(np.uint8)])
    ids = np.array([f"image{row:04d}" for row in range(len(pixels))])
    every = np.concatenate([good.labels, np.array(labels)])
    return ImageSet(pixels, every, ("ant", "bee <&>", "cat $x$"), ids, ids.copy())


def brute_force(images, *, deep=None):
    """Findings in a small set: black-and-white pictures are junk, correlated ones duplicates."""
    pixels = images.pixels[:].astype(np.float64)
    extreme = ((pixels == 0) | (pixels == 255)).mean(axis=(1, 2, 3))
    score = (3 * extreme).astype(np.float32)
    centred = (pixels - pixels.mean(axis=(1, 2), keepdims=True)).reshape(len(pixels), -1)
    likeness = np.corrcoef(centred)
    order = np.argsort(images.ids)
    cluster = np.array(
        [order[np.argmax(likeness[row, order] > 0.95)] for row in range(len(pixels))]
    )
    same = [np.array_equal(images.pixels[a], images.pixels[b]) for a, b in enumerate(cluster)]
    copies = np.flatnonzero(cluster != np.arange(len(cluster)))
    good = copies[score[copies] <= 1]
    return Findings(
        score=score,
        reasons=tuple("black and white" if one > 1 else "" for one in score),
        cluster=cluster,
        exact=np.array(same) & (cluster != np.arange(len(cluster))),
        pairs=np.stack([cluster[good], good], axis=1),
        similarity=likeness[cluster[good], good].astype(np.float32),
        features=pixels[:, ::4, ::4].reshape(len(pixels), -1).astype(np.float32),
    )


def save(path, images):
    """Write a set in the layout of the AN2DL challenge."""
    np.savez(
        path, images=images.pixels, labels=images.labels, class_names=np.array(images.class_names)
    )
    return path


def save_opinions(path, images, flipped=(), *, repeats=1):
    """Write out-of-fold predictions that believe in every label but some."""
    classes = len(images.class_names)
    believed = images.labels.copy()
    believed[list(flipped)] = (believed[list(flipped)] + 1) % classes
    sure = 0.9 * np.eye(classes)[believed] + 0.1 / classes
    count = len(images)
    np.savez(
        path,
        ids=np.tile(images.ids, repeats),
        labels=np.tile(images.labels, repeats),
        probabilities=np.tile(sure, (repeats, 1)).astype(np.float32),
        fold=np.tile(np.arange(count) % 2, repeats),
        repeat=np.repeat(np.arange(repeats), count),
    )
    return path
