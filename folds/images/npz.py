"""Reading .npz files in the layouts of the AN2DL challenge and of MedMNIST."""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from folds.errors import UserError, listed
from folds.images.imageset import ImageSet, singletons
from folds.images.resize import shrink

_PARTS = ("train", "val")  # MedMNIST's test part stays a test part
_LAYOUTS = "'images' and 'labels' (AN2DL), or 'train_images', 'train_labels', ... (MedMNIST)"


def load(path: Path, size: int) -> ImageSet:
    """Read labelled images; those larger than `size` pixels are reduced to it.

    MedMNIST's train and validation parts are pooled; its test part is left out, with a notice.
    Class names come from an array ``class_names`` where there is one, else they are the numbers.

    Raises
    ------
    UserError
        Not an .npz file, another layout, a wrong dtype or shape, or object arrays (which would
        have to be unpickled, and never are).
    """
    arrays = _read(path)
    pixels, ids, notices = _images(path, arrays)
    if "images" in arrays:
        raw = _array(path, arrays, "labels")
    else:
        parts = [_array(path, arrays, f"{part}_labels") for part in _parts(path, arrays)]
        raw = np.concatenate([_column(path, part) for part in parts])
    labels, names = _labels(path, raw, arrays.get("class_names"))
    if len(labels) != len(pixels):
        raise UserError(
            f"--data {path}: {len(pixels)} images but {len(labels)} labels; give one label an image"
        )
    return ImageSet(shrink(pixels, size), labels, names, ids, singletons(ids), notices)


def load_unlabelled(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Read the images alone, in their own size; every part of a MedMNIST file."""
    pixels, ids, _ = _images(path, _read(path), parts=(*_PARTS, "test"))
    return pixels, ids


def _read(path: Path) -> dict[str, NDArray]:
    if not zipfile.is_zipfile(path):
        raise UserError(f"--data {path}: not a readable .npz file (no zip archive, or cut short)")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # of zlib, struct, zipfile and numpy: a damaged zip raises any
        if isinstance(error, ValueError) and "pickle" in str(error):
            raise UserError(
                f"--data {path}: holds object arrays, which could run code when read; "
                "save plain uint8 and integer arrays"
            ) from None
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"--data {path}: not a readable .npz file ({reason})") from None
    return {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}


def _parts(path: Path, arrays: dict[str, NDArray], parts: tuple[str, ...] = _PARTS) -> list[str]:
    found = [part for part in parts if f"{part}_images" in arrays]
    if not found:
        raise UserError(
            f"--data {path}: expected arrays {_LAYOUTS}; found {listed(arrays) or 'none'}"
        )
    return found


def _array(path: Path, arrays: dict[str, NDArray], name: str) -> NDArray:
    if name not in arrays:
        raise UserError(f"--data {path}: no array {name!r}; found {listed(arrays, most=8)}")
    return arrays[name]


def _images(
    path: Path, arrays: dict[str, NDArray], parts: tuple[str, ...] = _PARTS
) -> tuple[NDArray[np.uint8], NDArray[np.str_], tuple[str, ...]]:
    if "images" in arrays:
        pixels = _pixels(path, "images", arrays["images"])
        return pixels, _row_names("", len(pixels)), ()
    found = _parts(path, arrays, parts)
    blocks = [_pixels(path, f"{part}_images", arrays[f"{part}_images"]) for part in found]
    for part, block in zip(found, blocks, strict=True):
        if block.shape[1:] != blocks[0].shape[1:]:
            raise UserError(
                f"--data {path}: {part}_images has shape {block.shape}, {found[0]}_images "
                f"{blocks[0].shape}; save all parts in one size"
            )
    ids = [_row_names(f"{part}/", len(block)) for part, block in zip(found, blocks, strict=True)]
    left_out = "test" not in parts and "test_images" in arrays
    count = len(arrays["test_images"]) if left_out else 0
    notices = (f"the file's test part ({count} images) is left out",) if left_out else ()
    return np.concatenate(blocks), np.concatenate(ids), notices


def _row_names(prefix: str, count: int) -> NDArray[np.str_]:
    return np.array([f"{prefix}{row:07d}" for row in range(count)], dtype=np.str_)


def _pixels(path: Path, name: str, array: NDArray) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        raise UserError(
            f"--data {path}: {name} has dtype {array.dtype}; save uint8 values from 0 to 255"
        )
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or 0 in array.shape:
        raise UserError(
            f"--data {path}: {name} has shape {array.shape}; expected (N, height, width, 3), "
            "(N, height, width) or (N, height, width, 1), N at least 1"
        )
    return np.broadcast_to(array, (*array.shape[:3], 3)) if array.shape[-1] == 1 else array


def _column(path: Path, raw: NDArray) -> NDArray:
    if raw.ndim == 2 and raw.shape[1] == 1:
        raw = raw[:, 0]
    if raw.ndim != 1:
        raise UserError(
            f"--data {path}: labels have shape {raw.shape}; expected (N,) or (N, 1), one class "
            "an image"
        )
    return raw


def _labels(
    path: Path, raw: NDArray, names: NDArray | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    raw = _column(path, raw)
    if not np.issubdtype(raw.dtype, np.integer) and raw.dtype.kind != "U":
        raise UserError(f"--data {path}: labels have dtype {raw.dtype}; save integers or strings")
    values, labels = np.unique(raw, return_inverse=True)
    if names is None or raw.dtype.kind == "U":
        return labels.astype(np.int64), tuple(str(value) for value in values)
    if values.min() < 0 or values.max() >= len(names):
        raise UserError(
            f"--data {path}: labels run from {values.min()} to {values.max()} but there are "
            f"{len(names)} class_names; number the classes from 0"
        )
    return labels.astype(np.int64), tuple(str(names[value]) for value in values)
