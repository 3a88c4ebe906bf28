"""Reading .npz files in the layouts of the AN2DL challenge and of MedMNIST."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from folds.archives import ObjectsError, member, names, read_arrays
from folds.errors import UserError, listed, reason
from folds.images.columns import Columns, read_columns, read_ids
from folds.images.imageset import ImageSet, stratified
from folds.images.listing import Unlabelled
from folds.images.pixelfile import PixelWriter, Shape, pieces
from folds.images.resize import own_side, shrink

_PARTS = ("train", "val")  # MedMNIST's test part stays a test part
ALL_PARTS = (*_PARTS, "test")
_COLUMNS = ("images", "labels", "ids", "groups", "sites")  # ends of the names that have a meaning
_LAYOUTS = "'images' and 'labels' (AN2DL), or 'train_images', 'train_labels', ... (MedMNIST)"


@dataclass(frozen=True)
class NpzSource:
    """Labelled images in an .npz file, see `folds.images.source.Source`.

    MedMNIST's train and validation parts are pooled; its test part is left out, with a notice.
    Class names come from an array ``class_names`` where there is one, else they are the numbers;
    ids, groups and sites from arrays ``ids``, ``groups`` and ``sites`` beside ``images``, or
    ``train_ids``, ... beside ``train_images``.

    Parameters
    ----------
    path : Path
    size : int
        Side of the network's input in pixels; with `auto` the most that it may be.
    auto : bool
        It shall be the images' own, see `folds.images.resize.own_side`.
    limit, seed : int
        No more images than this, a stratified choice.
    slices : tuple of str
        Names of further arrays to be kept, see `ImageSet.columns`.
    parts : tuple of str
        Those of a MedMNIST file that are read.
    class_names : tuple of str
        Of a file that has no array of this name.
    notices : tuple of str
        What the user must know of it.

    Raises
    ------
    UserError
        By each method: not an .npz file, another layout, a wrong dtype or shape, or object arrays
        (which would have to be unpickled, and never are).
    """

    path: Path
    size: int
    auto: bool
    limit: int | None
    seed: int
    slices: tuple[str, ...] = ()
    parts: tuple[str, ...] = _PARTS
    class_names: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        """Of all decoded pixels, told by the arrays' headers alone; `limit` is left aside."""
        arrays = _read(self.path, images=False)
        blocks, _ = _blocks(self.path, arrays, self.parts)
        side = self._side(arrays[blocks[0]])
        return sum(len(arrays[block]) for block in blocks), side, side, 3

    @property
    def nbytes(self) -> int:
        """Bytes of all decoded pixels; `limit` is left aside."""
        return math.prod(self.shape)

    def decode(self) -> ImageSet:
        """Read the images into memory."""
        arrays = _read(self.path, others=self.slices)
        blocks, told, notices = self._told(arrays)
        side = self._side(arrays[blocks[0]])
        pixels = shrink(np.concatenate([_rgb(arrays[block]) for block in blocks]), side)
        images = ImageSet(
            pixels, told.labels, told.class_names, told.ids, told.groups, notices, told.others
        )
        return images.limited(self.limit, seed=self.seed)

    def decode_to(self, target: Path) -> ImageSet:
        """Read the images into a new `PixelFile`; those in Fortran order are refused."""
        arrays = _read(self.path, images=False, others=self.slices)
        blocks, told, notices = self._told(arrays)
        rows = stratified(told.labels, told.class_names, self.limit, seed=self.seed)
        side = self._side(arrays[blocks[0]])
        with PixelWriter(target, (len(rows), side, side, 3)) as writer:
            first = 0
            for block in blocks:
                for piece in _pieces(self.path, block, arrays[block].shape):
                    # `rows` ascend: those within a piece are neighbours in the new file
                    target_rows = np.arange(*np.searchsorted(rows, (first, first + len(piece))))
                    if len(target_rows):
                        chosen = _rgb(piece[rows[target_rows] - first])
                        writer.write(target_rows, shrink(chosen, side))
                    first += len(piece)
            pixels = writer.finish()
        columns = {name: values[rows] for name, values in told.others.items()}
        ids, groups = told.ids[rows], told.groups[rows]
        return ImageSet(pixels, told.labels[rows], told.class_names, ids, groups, notices, columns)

    def _told(self, arrays: dict[str, NDArray]) -> tuple[list[str], Columns, tuple[str, ...]]:
        """Names of the arrays of images, what is known of each image, and notices."""
        if self.class_names:
            arrays = {"class_names": np.array(self.class_names), **arrays}
        blocks, notices = _blocks(self.path, arrays, self.parts)
        told = read_columns(self.path, arrays, blocks, self.slices)
        return blocks, told, (*self.notices, *notices, *told.notices)

    def _side(self, array: NDArray) -> int:
        """Side in pixels that images are kept at."""
        height, width = array.shape[1:3]
        return own_side({(height, width)}, self.size, auto=self.auto)


def load_unlabelled(path: Path, parts: tuple[str, ...] = ALL_PARTS) -> Unlabelled:
    """Read the images alone, in their own size; of a MedMNIST file those of these parts."""
    arrays = _read(path)
    blocks, _ = _blocks(path, arrays, parts)
    pixels = np.concatenate([_rgb(arrays[block]) for block in blocks])
    return Unlabelled(pixels, read_ids(path, arrays, blocks))


def _read(path: Path, *, images: bool = True, others: Sequence[str] = ()) -> dict[str, NDArray]:
    """Read the arrays that have a meaning; those of images may be stand-ins of their shape.

    The `others` are read where they are asked for; of all else the names alone are there, so that
    messages can tell them.
    """
    arrays = {}
    with _naming(path):
        for name in names(path):
            kind = name.split("_")[-1]
            asked = name.endswith(tuple(others)) if others else False
            if name != "class_names" and kind not in _COLUMNS and not asked:
                arrays[name] = np.empty(0)
            elif kind == "images" and not images:
                arrays[name] = _stand_in(path, name)
            else:
                arrays |= read_arrays(path, name)
    return arrays


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file that is damaged, or that is not to be read."""
    try:
        yield
    except ObjectsError:
        raise UserError(
            f"--data {path}: holds object arrays, which could run code when read; "
            "save plain uint8 and integer arrays"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"--data {path}: not a readable .npz file ({reason(error)})") from None


def _stand_in(path: Path, name: str) -> NDArray:
    """An array without memory of its own that has another's shape and dtype."""
    with member(path, name) as found:
        return np.broadcast_to(np.zeros((), found.dtype), found.shape)


def _pieces(path: Path, name: str, shape: tuple[int, ...]) -> Iterator[NDArray[np.uint8]]:
    """Read an array of images from its beginning to its end, compressed or not."""
    with _naming(path), member(path, name) as found:
        if found.fortran:
            raise UserError(
                f"--data {path}: {name} lies in Fortran order and cannot be read in pieces; save "
                "numpy.ascontiguousarray of it, or use --stream off"
            )
        for rows in pieces(shape):
            content = found.file.read((rows.stop - rows.start) * math.prod(shape[1:]))
            yield np.frombuffer(content, np.uint8).reshape(-1, *shape[1:])


def _parts(path: Path, arrays: dict[str, NDArray], parts: tuple[str, ...] = _PARTS) -> list[str]:
    present = [part for part in parts if f"{part}_images" in arrays]
    if not present:
        raise UserError(
            f"--data {path}: expected arrays {_LAYOUTS}; found {listed(arrays) or 'none'}"
        )
    return present


def _blocks(
    path: Path, arrays: dict[str, NDArray], parts: tuple[str, ...] = _PARTS
) -> tuple[list[str], tuple[str, ...]]:
    """Names of the arrays that hold the images, and a notice of what is left out."""
    if "images" in arrays:
        _check_pixels(path, "images", arrays["images"])
        return ["images"], ()
    blocks = [f"{part}_images" for part in _parts(path, arrays, parts)]
    for name in blocks:
        _check_pixels(path, name, arrays[name])
        if _rgb(arrays[name]).shape[1:] != _rgb(arrays[blocks[0]]).shape[1:]:
            raise UserError(
                f"--data {path}: {name} has shape {arrays[name].shape}, {blocks[0]} "
                f"{arrays[blocks[0]].shape}; save all parts in one size"
            )
    left_out = parts == _PARTS and "test_images" in arrays
    count = len(arrays["test_images"]) if left_out else 0
    notices = (f"the file's test part ({count} images) is in no fold",) if left_out else ()
    return blocks, notices


def _check_pixels(path: Path, name: str, array: NDArray) -> None:
    if array.dtype != np.uint8:
        raise UserError(
            f"--data {path}: {name} has dtype {array.dtype}; save uint8 values from 0 to 255"
        )
    shape = array.shape if array.ndim != 3 else (*array.shape, 1)
    if len(shape) != 4 or shape[-1] not in (1, 3) or 0 in shape:
        raise UserError(
            f"--data {path}: {name} has shape {shape}; expected (N, height, width, 3), "
            "(N, height, width) or (N, height, width, 1), N at least 1"
        )


def _rgb(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """View grey images, (N, H, W) or (N, H, W, 1), as coloured ones."""
    array = array[..., None] if array.ndim == 3 else array
    return np.broadcast_to(array, (*array.shape[:3], 3))
