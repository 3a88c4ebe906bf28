"""Bringing images to one size before training: shorter side, then centre."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def cover(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Scale the shorter side to `size` pixels and keep the centre square.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)
        RGB; transparency is dropped, grey is repeated.
    """
    if image.mode != "RGB":
        image = image.convert("RGB")
    width, height = image.size
    if (width, height) != (size, size):
        short = min(width, height)
        left, top = (width - short) / 2, (height - short) / 2
        box = (left, top, left + short, top + short)
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
    return np.asarray(image)


def shrink(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Make images (size, size), but leave square ones that are not larger alone.

    Small images are enlarged later, on the device, in the same step as the augmentation's warp.

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
