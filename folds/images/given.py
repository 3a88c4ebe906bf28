"""Images that Python has already: arrays and data sets of others become an image set."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from folds.config import DataConfig
from folds.errors import UserError
from folds.images.class_names import check_names
from folds.images.imageset import ImageSet, singletons
from folds.images.resize import own_side, shrink

_KINDS = "uint8 images (N, height, width, 3) or (N, height, width), or rows of square ones"


def as_pixels(values: NDArray, levels: float | None = None) -> NDArray[np.uint8]:
    """Read an array as images.

    Parameters
    ----------
    values : ndarray, shape (N, H, W, 3), (N, H, W, 1), (N, H, W) or (N, F)
        Colours or grey. A row of F values is a flattened square: grey where F is s * s; RGB,
        channels last, where F is 3 * s * s.
    levels : float, optional
        The value that becomes 255, as do all above it. Default: 255 of whole numbers, 1 of
        floating-point ones.

    Returns
    -------
    ndarray of uint8, shape (N, H, W, 3)

    Raises
    ------
    UserError
        Another shape or kind; values below 0, or above what is white by default.
    """
    values = _unflattened(values)
    if values.ndim == 3:
        values = values[..., None]
    if values.ndim != 4 or values.shape[-1] not in (1, 3) or 0 in values.shape:
        first = values.ndim == 4 and values.shape[1] in (1, 3)
        remedy = "; move the channels to the end" if first else ""
        raise UserError(f"X: has shape {values.shape}; give {_KINDS}{remedy}")
    if values.dtype != np.uint8 or levels is not None:
        values = _scaled(values, levels)
    return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:3], 3)))


def image_set(
    pixels: NDArray[np.uint8],
    labels: ArrayLike,
    class_names: Sequence[str],
    groups: ArrayLike | None = None,
) -> ImageSet:
    """Make an image set of what is in memory; image i is called i, in seven digits.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (N, H, W, 3)
    labels : array of int, shape (N,)
        Index into `class_names`.
    class_names : sequence of str
    groups : array, shape (N,), optional
        Patient, slide: images of one are never divided between folds. Default: each its own.

    Raises
    ------
    UserError
        The parts do not fit together, or a name cannot be written.
    """
    ids = np.array([f"{row:07d}" for row in range(len(pixels))], dtype=np.str_)
    names = tuple(class_names)
    notices = check_names("X", names, ids.tolist())
    whole = singletons(ids) if groups is None else np.asarray(groups).astype(np.str_)
    return ImageSet(pixels, np.asarray(labels, np.int64), names, ids, whole, notices)


def given(images: ImageSet) -> Callable[..., ImageSet]:
    """A loader, as `folds.prepare.prepare` takes it, of images that are here already.

    It brings them to the size that the settings ask for, by the rule of `folds.images.resize`, and
    keeps no more than ``limit``; where they come from is not looked at.
    """

    def load(config: DataConfig, *, seed: int, largest: int) -> ImageSet:
        auto = config.image_size == "auto"
        size = largest if config.image_size == "auto" else config.image_size
        height, width = images.pixels.shape[1:3]
        side = own_side({(height, width)}, size, auto=auto)
        sized = replace(images, pixels=shrink(images.pixels[:], side))
        return sized.limited(config.limit, seed=seed)

    return load


def _unflattened(values: NDArray) -> NDArray:
    """Rows (N, F) as squares; other shapes as they are."""
    if values.ndim != 2:
        return values
    features = values.shape[1]
    for channels in (1, 3):
        side = round((features / channels) ** 0.5)
        if side * side * channels == features and features:
            return values.reshape(-1, side, side, channels)
    raise UserError(
        f"X: {features} values a row are no square image, grey or RGB; give X of shape "
        "(N, height, width, 3) or (N, height, width)"
    )


def _scaled(values: NDArray, levels: float | None) -> NDArray[np.uint8]:
    """Values of any kind of number as bytes, white being 255."""
    if values.dtype.kind not in "buif":
        raise UserError(f"X: has dtype {values.dtype}; give {_KINDS}")
    white = {"b": 1.0, "f": 1.0}.get(values.dtype.kind, 255.0)
    top = white if levels is None else levels
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0:
        raise UserError(f"X: has values from {low:g} to {high:g}; give finite ones from 0 up")
    if levels is None and high > white:
        raise UserError(
            f"X: has {values.dtype} values up to {high:g}, above {white:g}; say with levels which "
            "value is white"
        )
    scaled = values.astype(np.float32) * np.float32(255 / top)
    return np.rint(scaled.clip(0, 255)).astype(np.uint8)
