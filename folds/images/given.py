"""Images that Python has already: arrays and data sets of others become an image set."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps

from folds.config import DataConfig
from folds.errors import UserError
from folds.images.class_names import check_names
from folds.images.decode import on_white
from folds.images.imageset import ImageSet, singletons
from folds.images.resize import cover, own_side, shrink

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
        raise UserError(f"images: have shape {values.shape}; give {_KINDS}{remedy}")
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


def from_dataset(
    dataset: Any,
    *,
    class_names: Sequence[str] | None = None,
    groups: ArrayLike | None = None,
    size: int | None = None,
) -> ImageSet:
    """Read all of a map-style data set of torch, as `torchvision` and `medmnist` have them.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Of pairs (image, label). An image is a PIL image, a tensor (3 or 1, H, W), or an array
        (H, W, 3) or (H, W), see `as_pixels` for its numbers; a label an integer or a text.
    class_names : sequence of str, optional
        What integers stand for. Default: ``dataset.classes`` where there is one, else the numbers.
    groups : array, shape (N,), optional
        See `image_set`.
    size : int, optional
        Side in pixels that each image's centre square is brought to, where sizes differ.

    Returns
    -------
    ImageSet
        Item i is called i, in seven digits; of the classes those that have images.

    Raises
    ------
    UserError
        It has no length, an item is no such pair, or sizes differ and `size` is not given.

    Notes
    -----
    Transforms of the data set are applied once: leave augmentation and normalisation to training.
    """
    if not hasattr(dataset, "__len__") or not len(dataset):
        raise UserError("dataset: has no length, or no items; give a map-style one, not a stream")
    names = getattr(dataset, "classes", None) if class_names is None else class_names
    pixels, labels = [], []
    for row in range(len(dataset)):
        try:
            image, label = dataset[row]
        except (TypeError, ValueError):
            raise UserError(f"dataset: item {row} is no pair of an image and a label") from None
        one = _one(image)
        pixels.append(one if size is None else cover(Image.fromarray(one), size))
        number = np.asarray(label)
        labels.append(number.item() if number.size == 1 else label)
    if len({one.shape for one in pixels}) > 1:
        raise UserError("dataset: its images have several sizes; say to which side with size")
    return _labelled(np.stack(pixels), labels, names, groups)


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


def _one(image: Any) -> NDArray[np.uint8]:
    """An image (H, W, 3) of any kind that `from_dataset` takes."""
    if isinstance(image, Image.Image):
        image = ImageOps.exif_transpose(image)
        plain = image.mode not in ("F", "I") and not image.mode.startswith("I;16")
        return np.asarray(on_white(image)) if plain else as_pixels(np.asarray(image)[None])[0]
    if isinstance(image, np.ndarray):
        return as_pixels(image[None])[0]
    values = np.asarray(image)  # a tensor
    return as_pixels(np.moveaxis(values, 0, -1)[None])[0]


def _labelled(
    pixels: NDArray[np.uint8],
    labels: Sequence[Any],
    names: Sequence[str] | None,
    groups: ArrayLike | None,
) -> ImageSet:
    """An image set of labels that are integers or texts."""
    if not all(isinstance(label, int | str) for label in labels):
        raise UserError("dataset: labels are no single integers or texts; give one class an image")
    values, numbers = np.unique(np.array(labels), return_inverse=True)
    found = [str(value) for value in values]
    if names is not None and values.dtype.kind in "iu":
        if not 0 <= values.min() <= values.max() < len(names):
            raise UserError(
                f"dataset: labels run from {values.min()} to {values.max()} but there are "
                f"{len(names)} class names; number the classes from 0"
            )
        found = [str(names[value]) for value in values]
    return image_set(pixels, numbers, found, groups)


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
        f"images: {features} values a row are no square image, grey or RGB; give X of shape "
        "(N, height, width, 3) or (N, height, width)"
    )


def _scaled(values: NDArray, levels: float | None) -> NDArray[np.uint8]:
    """Values of any kind of number as bytes, white being 255."""
    if values.dtype.kind not in "buif":
        raise UserError(f"images: have dtype {values.dtype}; give {_KINDS}")
    white = {"b": 1.0, "f": 1.0}.get(values.dtype.kind, 255.0)
    top = white if levels is None else levels
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0:
        raise UserError(f"images: have values from {low:g} to {high:g}; give finite ones from 0 up")
    if levels is None and high > white:
        raise UserError(
            f"images: have {values.dtype} values up to {high:g}, above {white:g}; say with levels "
            "which value is white"
        )
    scaled = values.astype(np.float32) * np.float32(255 / top)
    return np.rint(scaled.clip(0, 255)).astype(np.uint8)
