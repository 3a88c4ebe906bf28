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
from torch import Tensor, nn

from folds.arrays import Floats, Ints
from folds.augment.draws import signed
from folds.augment.lab import random_reinhard
from folds.augment.light import gamma, hed, vignette
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


def random_conv(image: Tensor, numbers: Floats, max: float) -> Tensor:
    """Blend with up to `max` of the image under a random filter of 1, 3, 5 or 7 pixels a side.

    All channels enter each. The filtered image is brought to the mean and the spread of the
    original, of all channels together, so that it is neither darker nor flatter.

    References
    ----------
    Xu et al., Robust and Generalizable Visual Representation Learning via Random Convolutions,
    ICLR 2021.
    """
    side = image.shape[-1]
    widths = np.minimum(1 + 2 * (4 * numbers[:, 1]).astype(np.int64), _odd(6, side))
    kernels = _filters(widths, numbers[:, 2]).to(image.device, non_blocking=True)
    reach = kernels.shape[-1] // 2
    padded = nn.functional.pad(image, (reach,) * 4, mode="reflect").flatten(0, 1)
    filtered = nn.functional.conv2d(padded[None], kernels.flatten(0, 1), groups=len(image))
    flat, given = filtered.view(len(image), -1), image.flatten(1)
    spread, mean = torch.std_mean(given, dim=1, keepdim=True)
    own_spread, own_mean = torch.std_mean(flat, dim=1, keepdim=True)
    flat = (flat - own_mean) * (spread / own_spread.clamp_min(1e-6)) + mean
    share = torch.from_numpy(max * numbers[:, :1]).to(image.device, non_blocking=True)
    return torch.lerp(given, flat.clamp_(0, 1), share).view_as(image)


def _filters(widths: Ints, seeds: Floats) -> Tensor:
    """Normal weights (n, 3, 3, w, w) for images of some widths (n,), w being the greatest.

    A filter's weights depend on its own number and width alone, wherever it is.
    """
    most = int(widths.max())
    taps = normals(seeds, 9 * 49, torch.device("cpu")).view(-1, 3, 3, 7, 7)
    reach, first = torch.arange(most) - most // 2, 3 - most // 2
    inside = reach.abs() <= torch.from_numpy(widths // 2)[:, None]
    both = inside[:, :, None] & inside[:, None, :]
    return taps[..., first : first + most, first : first + most] * both[:, None, None]


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
        posterize, solarize, autocontrast, equalize, gamma, vignette, hed, random_reinhard,
        sharpness, blur, motion_blur, random_conv, jpeg, noise, erase, grid_mask,
    )
}  # fmt: skip


def _odd(pixels: float, side: int) -> int:
    """Width of a kernel that covers some pixels and can be reflected at the image's edge."""
    return min(2 * math.ceil(pixels / 2) + 1, 2 * ((side - 1) // 2) + 1)
