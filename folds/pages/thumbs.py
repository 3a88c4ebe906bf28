"""Small pictures that a page carries within itself."""

import base64
import io

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image, ImageOps

from folds.arrays import Floats

LARGEST = 112  # pixels of a thumbnail's longer side
_SMALL = 64  # pixels; images up to here are stored without loss, as every pixel will be seen
FAINT = 0.1  # log odds, 0.025 of an even chance: where no more is lost a map has no bright place
_DIM, _VEIL = 0.6, 0.75  # how bright an image is under its heat map, and how much that may hide


def thumb(pixels: NDArray[np.uint8]) -> str:
    """Make a data URI of one image.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)

    Returns
    -------
    str
        A JPEG of at most `LARGEST` pixels, or a PNG of a small image.
    """
    return _uri(_small(pixels))


def overlay(pixels: NDArray[np.uint8], heat: Floats) -> str:
    """Make a data URI of one image, grey and dim, with a heat map over it.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
    heat : ndarray of float32, shape (side, side)
        Log odds that its centre square, which the networks see (`folds.images.resize.cover`),
        loses by place. The greatest has the brightest colour, unless it is below `FAINT`; what is
        not above 0 has none.

    Returns
    -------
    str
        As `thumb` makes it.
    """
    image = ImageOps.grayscale(_small(pixels)).point(lambda value: _DIM * value).convert("RGB")
    side = min(image.size)
    shares = Image.fromarray(np.maximum(heat, 0) / max(heat.max(), FAINT))
    smooth = np.asarray(shares.resize((side, side), Image.Resampling.BICUBIC)).clip(0, 1)
    colours = Image.fromarray(colormaps["inferno"](smooth, bytes=True)[..., :3])
    veil = Image.fromarray((255 * _VEIL * smooth).astype(np.uint8))
    image.paste(colours, ((image.width - side) // 2, (image.height - side) // 2), veil)
    return _uri(image)


def _small(pixels: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    return image


def _uri(image: Image.Image) -> str:
    buffer, kind = io.BytesIO(), "jpeg"
    if max(image.size) <= _SMALL:
        kind = "png"
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=88)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
