"""What external images look like beside those that are trained on, in words."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from folds.adaptation import Appearance, appearance_of, looks_of, unlike
from folds.arrays import Floats
from folds.augment import to_input
from folds.config.corruptions import SEVERITIES, suite
from folds.corruptions import corrupt, keys_of
from folds.images.imageset import ImageSet

_MANY, _FEW = 256, 24  # images that are looked at; that are corrupted
_NEAREST = 2  # corruptions that are named
_TOLD = 0.1  # relative change of a figure below which there is nothing to tell


def looks_told(images: ImageSet, external: ImageSet, size: int) -> list[str]:
    """Say how external images differ from training's, and which corruptions come nearest.

    Parameters
    ----------
    images, external : ImageSet
        Those that are trained on, and others.
    size : int
        Side of the network's input in pixels.

    Returns
    -------
    list of str
        One line, or none where most of them look like training's.
    """
    ours, theirs = _some(images, size, _MANY), _some(external, size, _MANY)
    appearance = appearance_of([ours], [1.0])
    colour, framing = unlike(looks_of(theirs), appearance)
    if float((colour | framing).float().mean()) <= 0.5:
        return []
    before, after = _figures(ours), _figures(theirs)
    words = _words(np.median(before, axis=0), np.median(after, axis=0))
    nearest = _nearest(images, size, appearance, theirs)
    return [
        f"unlike the training images: {float(colour.float().mean()):.0%} in colour, "
        f"{float(framing.float().mean()):.0%} in how large the object is ({', '.join(words)}); of "
        f"the corruptions {' and '.join(nearest)} come nearest"
    ]


def _some(images: ImageSet, size: int, most: int) -> Tensor:
    """Inputs (n, 3, size, size) of at most so many images, chosen by their ids."""
    return to_input(torch.from_numpy(images.pixels[_chosen(images, most)]), size)


def _chosen(images: ImageSet, most: int) -> NDArray[np.int64]:
    return np.sort(np.argsort(keys_of(images.ids).numpy(), kind="stable")[:most])


def _figures(images: Tensor) -> Floats:
    """Lightness, contrast, sharpness and the object's radius of images: shape (B, 4)."""
    looks = looks_of(images)
    middle, span = looks.levels[..., 1], looks.levels[..., 2] - looks.levels[..., 0]
    grey = images.mean(dim=1, keepdim=True)
    kernel = torch.tensor([[[[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]]])
    edges = functional.conv2d(grey, kernel).flatten(1).std(dim=1)
    sharp = edges / span.mean(dim=1).clamp_min(0.01)
    each = [middle.mean(dim=1), span.mean(dim=1), sharp, looks.foreground.radius]
    return torch.stack(each, dim=1).numpy()


def _words(before: Floats, after: Floats) -> list[str]:
    names = ("lightness", "contrast", "sharpness", "size of the object")
    factors = after / np.maximum(before, 1e-6)
    told = [
        f"{name} {factor:.2g} times"
        for name, factor in zip(names, factors.tolist(), strict=True)
        if abs(factor - 1) > _TOLD
    ]
    return told or ["other tints"]


def _nearest(images: ImageSet, size: int, appearance: Appearance, theirs: Tensor) -> Sequence[str]:
    """Names of the corruptions after which some of training's images look most like the others."""
    rows = _chosen(images, _FEW)
    plain, keys = to_input(torch.from_numpy(images.pixels[rows]), size), keys_of(images.ids[rows])
    there = _places(theirs, appearance)
    far: dict[str, float] = {}
    for name, _ in suite("fast"):
        each = [corrupt(plain, keys, name, severity) for severity in SEVERITIES[2::2]]
        made = torch.cat([_places(one, appearance) for one in each])
        far[name] = float(torch.cdist(there, made, p=1).amin(dim=1).mean())
    return [name.replace("_", " ") for name in sorted(far, key=far.__getitem__)[:_NEAREST]]


def _places(images: Tensor, appearance: Appearance) -> Tensor:
    """Levels of images (B, 9) in training's spreads, and logarithms of two figures: (B, 11)."""
    usual = torch.tensor(appearance.levels)
    spread = (usual[3] - usual[0]).clamp_min(0.02)
    levels = ((looks_of(images).levels - usual[0]) / spread).flatten(1)
    figures = torch.from_numpy(_figures(images)[:, 2:]).clamp_min(1e-3).log()
    return torch.cat([levels, figures], dim=1)
