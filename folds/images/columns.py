"""What an .npz file says of each image beside its pixels: label, id, group, site and slices."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from folds.errors import UserError, listed, nearest
from folds.images.class_names import check_names
from folds.images.imageset import SITE, singletons

Arrays = Mapping[str, NDArray]
Text = NDArray[np.str_]


@dataclass(frozen=True)
class Columns:
    """What is known of N images.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
        Index into `class_names`.
    class_names : tuple of str
        From an array ``class_names`` where there is one, else the numbers.
    ids, groups : ndarray of str, shape (N,)
    notices : tuple of str
        Of classes whose names look alike.
    others : mapping of str to ndarray of str, shape (N,)
        Sites and slices, see `ImageSet.columns`.
    """

    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    ids: Text
    groups: Text
    notices: tuple[str, ...]
    others: Mapping[str, Text]


def read_columns(
    path: Path, arrays: Arrays, blocks: Sequence[str], slices: Sequence[str] = ()
) -> Columns:
    """Read ``labels``, ``class_names``, ``ids``, ``groups`` and ``sites`` that belong to images.

    Parameters
    ----------
    path : Path
        As messages name it.
    arrays : mapping of str to ndarray
    blocks : sequence of str
        Names of the arrays of images: ``images``, or ``train_images``, ``val_images``, whose
        columns are then ``train_labels``, ``train_ids``, ....
    slices : sequence of str
        Names of further arrays to be read.

    Raises
    ------
    UserError
        Another dtype or shape; columns that only some parts have; a slice that is not there.
    """
    labels, names = _labels(path, _label_column(path, arrays, blocks), arrays.get("class_names"))
    count = sum(len(arrays[block]) for block in blocks)
    if len(labels) != count:
        raise UserError(
            f"--data {path}: {count} images but {len(labels)} labels; give one label an image"
        )
    ids = read_ids(path, arrays, blocks)
    groups = _texts(path, arrays, blocks, "groups")
    groups = singletons(ids) if groups is None else groups
    notices = check_names(path, names, ids.tolist())
    return Columns(labels, names, ids, groups, notices, _others(path, arrays, blocks, slices))


def _others(
    path: Path, arrays: Arrays, blocks: Sequence[str], slices: Sequence[str]
) -> dict[str, Text]:
    """The sites, if there are some, and the slices."""
    sites = _texts(path, arrays, blocks, "sites")
    others = {} if sites is None else {SITE: sites}
    for name in slices:
        values = _texts(path, arrays, blocks, name, gaps=True)
        if values is None:
            raise UserError(no_column(path, name, arrays))
        others[name] = values
    return others


def no_column(source: object, name: str, known: Iterable[str]) -> str:
    """What a user is told who asks for a slice that a source has not got."""
    known = [str(one) for one in known]
    return (
        f"--slices {name}: --data {source} has no such column among {listed(known, most=8)}"
        f"{nearest(name, known)}"
    )


def read_ids(path: Path, arrays: Arrays, blocks: Sequence[str]) -> Text:
    """The images' names: those of the file, or else their rows."""
    ids = _texts(path, arrays, blocks, "ids")
    if ids is None:
        return np.concatenate([_row_names(block, len(arrays[block])) for block in blocks])
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise UserError(
            f"--data {path}: ids are not unique ({listed(values[counts > 1])}); give each image "
            "its own, or name the array groups if it says which images belong together"
        )
    return ids


def _row_names(block: str, count: int) -> Text:
    prefix = "" if block == "images" else f"{block.removesuffix('_images')}/"
    return np.array([f"{prefix}{row:07d}" for row in range(count)], dtype=np.str_)


def _texts(
    path: Path, arrays: Arrays, blocks: Sequence[str], column: str, *, gaps: bool = False
) -> Text | None:
    """A column of text or integers, one for each image; None if the file has none.

    With `gaps` a text may be empty.
    """
    names = [block.removesuffix("images") + column for block in blocks]
    missing = [name for name in names if name not in arrays]
    if len(missing) == len(names) and column not in arrays:
        return None
    if missing:
        raise UserError(
            f"--data {path}: has {column} but no array {missing[0]!r}; save one for each of "
            f"{', '.join(blocks)}"
        )
    return np.concatenate(
        [
            _text(path, name, arrays[name], len(arrays[block]), gaps=gaps)
            for name, block in zip(names, blocks, strict=True)
        ]
    )


def _text(path: Path, name: str, array: NDArray, count: int, *, gaps: bool) -> Text:
    flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if flat.shape != (count,) or flat.dtype.kind not in "iuUS":
        raise UserError(
            f"--data {path}: {name} have shape {array.shape} and dtype {array.dtype}; save one "
            f"integer or string for each of the {count} images"
        )
    text = decoded(path, name, flat).astype(np.str_)
    if not gaps and (text == "").any():
        raise UserError(
            f"--data {path}: {int((text == '').sum())} of {count} {name} are empty; fill them, or "
            "leave the array out"
        )
    return text


def decoded(path: Path, name: str, array: NDArray) -> NDArray:
    """Byte strings as text, other arrays as they are.

    Raises
    ------
    UserError
        Byte strings are not UTF-8.
    """
    if array.dtype.kind != "S":
        return array
    try:
        return np.strings.decode(array, "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"--data {path}: {name} holds {error.object!r}, which is not UTF-8; save strings of "
            "text"
        ) from None


def _label_column(path: Path, arrays: Arrays, blocks: Sequence[str]) -> NDArray:
    names = [f"{block.removesuffix('images')}labels" for block in blocks]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise UserError(f"--data {path}: no array {missing[0]!r}; found {listed(arrays, most=8)}")
    if len(names) == 1:
        return _flat(path, arrays[names[0]])
    return np.concatenate([_flat(path, arrays[name]) for name in names])


def _flat(path: Path, raw: NDArray) -> NDArray:
    if raw.ndim == 2 and raw.shape[1] == 1:
        raw = raw[:, 0]
    if raw.ndim != 1:
        raise UserError(
            f"--data {path}: labels have shape {raw.shape}; expected (N,) or (N, 1), one class "
            "an image"
        )
    return decoded(path, "labels", raw)


def _labels(
    path: Path, raw: NDArray, names: NDArray | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if not np.issubdtype(raw.dtype, np.integer) and raw.dtype.kind != "U":
        raise UserError(f"--data {path}: labels have dtype {raw.dtype}; save integers or strings")
    values, labels = np.unique(raw, return_inverse=True)
    if names is None or raw.dtype.kind == "U":
        return labels.astype(np.int64), tuple(str(value) for value in values)
    if names.ndim != 1 or names.dtype.kind not in "iuUS":
        raise UserError(
            f"--data {path}: class_names have shape {names.shape} and dtype {names.dtype}; save "
            "one string for each class"
        )
    if values.min() < 0 or values.max() >= len(names):
        raise UserError(
            f"--data {path}: labels run from {values.min()} to {values.max()} but there are "
            f"{len(names)} class_names; number the classes from 0"
        )
    names = decoded(path, "class_names", names)
    return labels.astype(np.int64), tuple(str(names[value]) for value in values)
