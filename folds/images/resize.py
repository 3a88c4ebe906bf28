"""Bringing an image to the network's size: one rule, for training, external images and serving.

Of the upright RGB image the centre square, whose side is the shorter side, is resampled to
(size, size) in one step by Pillow's bicubic filter: `cover`. A square of that size stays as it is.

Squares that are smaller may be kept small where many are held, and enlarged when they are needed,
on whatever device (`folds.augment.to_input`): by the same filter in the same whole numbers, of
which `bicubic_taps` tells, so to the same pixels. So an image's pixels depend neither on the images
beside it nor on where it is resized.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TAP_BITS = 22  # of the weights' fractions, as in Pillow's Resample.c for 8-bit channels


def cover(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Resample the centre square to `size` pixels.

    Parameters
    ----------
    image : Image
        RGB.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)
    """
    width, height = image.size
    if (width, height) != (size, size):
        short = min(width, height)
        left, top = (width - short) / 2, (height - short) / 2
        box = (left, top, left + short, top + short)
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
    return np.asarray(image)


def shrink(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Make images (size, size), but leave squares that are not larger to `to_input`.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (N, H, W, 3)

    Returns
    -------
    ndarray of uint8, shape (N, H, W, 3) or (N, size, size, 3)
    """
    height, width = pixels.shape[1:3]
    if height == width <= size:
        return np.ascontiguousarray(pixels)
    return np.stack([cover(Image.fromarray(np.ascontiguousarray(one)), size) for one in pixels])


def own_side(shapes: set[tuple[int, int]], size: int, *, auto: bool) -> int:
    """Side in pixels that images are kept at, so that they can be brought to the network's later.

    Parameters
    ----------
    shapes : set of (int, int)
        Of the images, height and width in any order.
    size : int
        The network's; with `auto` the most that it may be.
    auto : bool
        The network's side shall be the images' own, if they have one.

    Returns
    -------
    int
        `size`; but where all images have one size, whichever way up, and it is smaller: that of
        squares, and with `auto` the shorter side of oblongs.
    """
    one = {tuple(sorted(shape)) for shape in shapes}
    if len(one) != 1:
        return size
    short, long = one.pop()
    return min(size, short) if auto or short == long else size


@lru_cache(maxsize=64)
def bicubic_taps(small: int, large: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Which of `small` values in a row make up each of `large` ones, and with what weights.

    Parameters
    ----------
    small, large : int
        Lengths; the first is not the greater.

    Returns
    -------
    places : ndarray of int64, shape (5, large)
    weights : ndarray of int32, shape (5, large)
        In units of 2**-22; in each column they sum to about 1. 0 where a tap is not needed.

    Notes
    -----
    Pillow's ``precompute_coeffs`` and ``normalize_coeffs_8bpc`` (libImaging/Resample.c) for its
    bicubic filter, a = -0.5, support 2.
    """
    centre = (np.arange(large) + 0.5) * (small / large)
    first = np.maximum((centre - 2 + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + 2 + 0.5).astype(np.int64), small)
    places = first + np.arange(5)[:, None]
    x = np.abs(places - centre + 0.5)
    near, far = ((1.5 * x - 2.5) * x) * x + 1, (((x - 5) * x + 8) * x - 4) * -0.5
    weights = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    weights[places >= last] = 0
    weights /= weights.sum(axis=0)
    whole = np.trunc(weights * 2**TAP_BITS + np.copysign(0.5, weights)).astype(np.int32)
    return np.minimum(places, small - 1), whole
