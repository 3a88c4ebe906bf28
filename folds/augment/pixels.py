"""Operations on the pixels of those images that drew them, each a call of Kornia where it has it.

All take images, float32 (n, 3, S, S) in [0, 1], and their numbers (n, k) of the table, and return
images of the same shape and range. They may overwrite what they are given. Parameters are made on
the host: Kornia checks them there without waiting for the device.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from kornia.enhance import equalize as equalize_histogram
from kornia.enhance import jpeg_codec_differentiable
from kornia.enhance import posterize as keep_bits
from kornia.enhance import sharpness as sharpen
from kornia.enhance import solarize as invert_above
from kornia.filters import filter2d, gaussian_blur2d
from torch import Tensor

from folds.arrays import Floats
from folds.augment.draws import signed
from folds.augment.masks import erase, grid_mask
from folds.augment.noise import normals


def posterize(image: Tensor, numbers: Floats, max: float) -> Tensor:
    """Take away up to `max` of the 8 bits of each channel."""
    lost = np.rint(max * numbers[:, 0]).astype(np.int64)
    return keep_bits(image, torch.from_numpy(8 - lost))


def solarize(image: Tensor, numbers: Floats, max: float) -> Tensor:
    """Invert values above a threshold of 1 down to ``1 - max``."""
    above = 1 - max * numbers[:, 0] + np.float32(1 / 512)  # Kornia inverts the threshold as well
    return invert_above(image, torch.from_numpy(above))


def autocontrast(image: Tensor, _numbers: Floats) -> Tensor:
    """Stretch each channel over the whole range; a channel of one value stays as it is."""
    low, high = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
    return torch.where(high > low, (image - low) / (high - low).clamp_(min=1e-6), image)


def equalize(image: Tensor, _numbers: Floats) -> Tensor:
    """Make the histogram of each channel flat."""
    return equalize_histogram(image)


def sharpness(image: Tensor, numbers: Floats, max: float) -> Tensor:
    """Blend with the smoothed image by a factor from ``1 - max`` (at least 0) to ``1 + max``."""
    factor = np.maximum(1 + signed(numbers, max), 0)
    return sharpen(image, torch.from_numpy(factor))


def blur(image: Tensor, numbers: Floats, max: float) -> Tensor:
    """Blur with a Gaussian whose standard deviation is up to `max` of a side."""
    side = image.shape[-1]
    width = _odd(6 * max * side, side)
    sigma = torch.from_numpy(np.maximum(max * side * numbers[:, :1], 0.05)).expand(-1, 2)
    return gaussian_blur2d(image, width, sigma)


def motion_blur(image: Tensor, numbers: Floats, max: float) -> Tensor:
    """Blur along a line of up to `max` of a side, in any direction."""
    side = image.shape[-1]
    length = np.maximum(max * side * numbers[:, 0], 1)
    lines = streaks(length, np.pi * numbers[:, 1], _odd(max * side, side))
    return filter2d(image, lines.to(image.device, non_blocking=True))


def streaks(length: Floats, angle: Floats, width: int) -> Tensor:
    """Kernels of straight lines through the middle, their edges one pixel soft.

    Parameters
    ----------
    length : ndarray of float32, shape (n,)
        In pixels, at least 1.
    angle : ndarray of float32, shape (n,)
        In radians, counter-clockwise from the x axis.
    width : int
        Of the kernels; odd.

    Returns
    -------
    Tensor of float32, shape (n, width, width)
        Each sums to 1.
    """
    axis = np.arange(width) - width // 2
    cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    along = np.abs(cosine * axis - sine * axis[:, None])
    across = np.abs(sine * axis + cosine * axis[:, None])
    line = np.clip(length[:, None, None] / 2 + 0.5 - along, 0, 1) * np.clip(1 - across, 0, 1)
    line /= line.sum(axis=(1, 2), keepdims=True)
    return torch.from_numpy(line.astype(np.float32))


def jpeg(image: Tensor, numbers: Floats, max: float) -> Tensor:
    """Compress with a quality of 100 down to ``100 - max``."""
    quality = torch.from_numpy(100 - max * numbers[:, 0])
    return jpeg_codec_differentiable(image, quality).clamp(0, 1)


def noise(image: Tensor, numbers: Floats, max: float) -> Tensor:
    """Add Gaussian noise of a standard deviation up to `max`, another one at each pixel."""
    drawn = normals(numbers[:, 1], image[0].numel(), image.device).view_as(image)
    deviation = torch.from_numpy((max * numbers[:, 0]).astype(np.float32))
    sent = deviation.to(image.device, non_blocking=True).view(-1, 1, 1, 1)
    return torch.addcmul(image, drawn, sent).clamp_(0, 1)


OPERATIONS: Mapping[str, Callable[..., Tensor]] = {
    f.__name__: f
    for f in (
        posterize, solarize, autocontrast, equalize, sharpness, blur, motion_blur, jpeg, noise,
        erase, grid_mask,
    )
}  # fmt: skip


def _odd(pixels: float, side: int) -> int:
    """Width of a kernel that covers some pixels and can be reflected at the image's edge."""
    return min(2 * math.ceil(pixels / 2) + 1, 2 * ((side - 1) // 2) + 1)
