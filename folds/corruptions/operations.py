"""Corruptions that no policy of augmentation has.

All take images, float32 (B, 3, S, S) in [0, 1], numbers (B, k) in [0, 1) of
`folds.corruptions.keys` and a strength, and return images of the same shape; the caller clamps
them. Lengths are shares of the side, so that a severity looks alike at every resolution.

References
----------
Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations, 2019 (ImageNet-C).
"""

import math

import numpy as np
import torch
from kornia.filters import filter2d, gaussian_blur2d
from torch import Tensor

from folds.arrays import Floats
from folds.augment.draws import Draw
from folds.augment.geometry import warp
from folds.augment.noise import normals, uniforms

_ZOOMS = 8  # images that a zoom blur averages
_GLASS = 0.006  # standard deviation of the blur before and after glass, share of a side


def shot_noise(image: Tensor, numbers: Floats, strength: float) -> Tensor:
    """Count photons: so bright a pixel has `strength` ** -2 of them on average at value 1.

    Notes
    -----
    Poisson counts by the square root of their mean, which a normal number moves by a half: mean
    and variance are right to an eighth of a photon.
    """
    photons = strength**-2
    root = (image * photons).sqrt() + _normals(image, numbers) / 2
    return (root.square() - 0.25) / photons


def impulse_noise(image: Tensor, numbers: Floats, strength: float) -> Tensor:
    """Set a share of all values to 0 or 1, as many to each."""
    drawn = uniforms(numbers[:, 0], image[0].numel(), image.device).view_as(image)
    return torch.where(drawn < strength, (drawn < strength / 2).to(image.dtype), image)


def speckle_noise(image: Tensor, numbers: Floats, strength: float) -> Tensor:
    """Multiply by normal numbers about 1 of a standard deviation."""
    return image * (1 + strength * _normals(image, numbers))


def defocus(image: Tensor, _numbers: Floats, strength: float) -> Tensor:
    """Blur with a disk, whose radius is a share of the side."""
    kernel = disk(strength * image.shape[-1], (image.shape[-1] - 1) // 2)
    sent = kernel.to(image.device, non_blocking=True)
    return filter2d(image, sent.expand(len(image), -1, -1))  # one for all is 7 times slower


def disk(radius: float, most: int) -> Tensor:
    """Kernel of a disk, its edge one pixel soft.

    Parameters
    ----------
    radius : float
        In pixels.
    most : int
        Pixels from the kernel's middle to its edge at most.

    Returns
    -------
    Tensor of float32, shape (width, width)
        Sums to 1; the width is odd.
    """
    reach = min(math.ceil(radius), most)
    axis = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = (radius + 0.5 - torch.hypot(axis, axis[:, None])).clamp(0, 1)
    return kernel / kernel.sum()


def zoom_blur(image: Tensor, _numbers: Floats, strength: float) -> Tensor:
    """Average of the image enlarged by factors from 1 to ``1 + strength``."""
    rows, ahead = np.arange(len(image)), np.ones((len(image), 1), np.float32)
    total = image.clone()
    for step in range(1, _ZOOMS):
        own = {"max": strength * step / (_ZOOMS - 1)}
        total += warp(image, [Draw("zoom", rows, ahead, own)])
    return total / _ZOOMS


def glass_blur(image: Tensor, numbers: Floats, strength: float) -> Tensor:
    """See each pixel from another place, up to a share of the side away in x and y; blur it.

    Notes
    -----
    Hendrycks and Dietterich swap pixels one after another; here each is sampled on its own.
    """
    count, side = len(image), image.shape[-1]
    blurred = _softened(image)
    axis = torch.linspace(-1, 1, side, device=image.device)
    straight = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
    drawn = uniforms(numbers[:, 0], 2 * side**2, image.device).view(count, side, side, 2)
    grid = straight + 2 * strength * (2 * drawn - 1)
    scattered = torch.nn.functional.grid_sample(
        blurred, grid, padding_mode="reflection", align_corners=True
    )
    return _softened(scattered)


def pixelate(image: Tensor, _numbers: Floats, strength: float) -> Tensor:
    """Replace squares by their mean; `strength` is how much shorter the side becomes, a share."""
    side = image.shape[-1]
    few = max(round(side * (1 - strength)), 1)
    small = torch.nn.functional.adaptive_avg_pool2d(image, few)
    return torch.nn.functional.interpolate(small, (side, side), mode="nearest-exact")


def _normals(image: Tensor, numbers: Floats) -> Tensor:
    return normals(numbers[:, 0], image[0].numel(), image.device).view_as(image)


def _softened(image: Tensor) -> Tensor:
    """Blur as glass does before and after it scatters."""
    sigma = _GLASS * image.shape[-1]
    most = 2 * ((image.shape[-1] - 1) // 2) + 1  # what can be reflected at the edge
    width = min(2 * math.ceil(3 * sigma) + 1, most)
    each = torch.full((len(image), 2), sigma)  # one for all is 9 times slower
    return gaussian_blur2d(image, width, each, separable=False)
