"""Small pictures that a page carries within itself."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LARGEST = 112  # pixels of a thumbnail's longer side
_SMALL = 64  # pixels; images up to here are stored without loss, as every pixel will be seen


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
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if max(image.size) <= _SMALL:
        image.save(buffer, "PNG", optimize=True)
        return _uri("png", buffer)
    image.save(buffer, "JPEG", quality=88)
    return _uri("jpeg", buffer)


def _uri(kind: str, buffer: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
