"""Junk of several kinds, to be hidden among good images."""

import numpy as np
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

from folds.images import ImageSet

KINDS = ("noise", "black", "text", "photographs", "two frames")


def junk(kind, count, side, *, seed=0):
    """Images uint8 (count, side, side, 3) that belong to no class."""
    rng = np.random.default_rng(seed)
    if kind == "noise":
        return rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    if kind == "black":
        return np.zeros((count, side, side, 3), np.uint8)
    if kind == "text":
        return np.stack([page(rng, side) for _ in range(count)])
    if kind == "photographs":
        return np.stack([photograph(rng, side) for _ in range(count)])
    return np.stack([photograph(rng, side) for _ in range(2)])[np.arange(count) % 2]


def page(rng, side):
    paper = Image.new("RGB", (side, side), "white")
    for top in range(0, side, 12):
        words = "".join(rng.choice(list("abcdefghij klmn opqrst"), 30))
        ImageDraw.Draw(paper).text((2, top), words, fill="black")
    return np.asarray(paper)


def photograph(rng, side):
    source = load_sample_images().images[rng.integers(2)]
    height, width = source.shape[:2]
    edge = int(rng.integers(side, height + 1))
    top, left = rng.integers(height - edge + 1), rng.integers(width - edge + 1)
    cut = Image.fromarray(source[top : top + edge, left : left + edge])
    return np.asarray(cut.resize((side, side), Image.Resampling.LANCZOS))


def hidden(images, pixels, *, seed=0):
    """Hide junk with random labels among images; returns the set and which are junk."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(images.class_names), len(pixels))
    bad = np.arange(len(images) + len(pixels)) >= len(images)
    order = rng.permutation(len(bad))
    ids = np.array([f"i{row:06d}" for row in range(len(bad))])
    both = ImageSet(
        np.concatenate([images.pixels, pixels])[order],
        np.concatenate([images.labels, labels])[order],
        images.class_names,
        ids,
        ids.copy(),
    )
    return both, bad[order]
