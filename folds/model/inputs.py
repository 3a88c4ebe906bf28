"""What a model is asked: an array of images, or a table of encoded images or of their paths."""

import base64
import binascii
import io
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from folds.images.decode import FORMATS, UndecidedError, UnreadableError, decode
from folds.images.resize import shrink

Pixels = NDArray[np.uint8]
ANYWHERE = Path(os.sep)
_COLUMNS = ("image", "path")


def batches(
    asked: Any,
    *,
    size: int,
    batch: int,
    folder: Path | None = ANYWHERE,
    levels: float | None = None,
) -> Iterator[list[Pixels]]:
    """Decode what a model is asked, some images at a time.

    Parameters
    ----------
    asked : array, DataFrame, dict or list of dicts
        Whole numbers from 0 to 255, shape (N, H, W, 3), RGB; or a table with a column ``image``
        (files' contents, as bytes or base64) or ``path``.
    size : int
        Side of the network's input in pixels.
    batch : int
        Images at a time.
    folder : Path, optional
        Where files may be read; None: nowhere.
    levels : float, optional
        Of files, see `folds.images.decode.decode`.

    Yields
    ------
    list of ndarray of uint8, shape (H, W, 3)
        Squares of at most `size` pixels as they were given, others (size, size), by the rule of
        `folds.images.resize`. This does not depend on the other images.

    Raises
    ------
    ValueError
        It is none of these; or an image cannot be read, or may not be: names the row, from 0.

    Notes
    -----
    Only one batch is decoded at a time.
    """
    table = _table(asked)
    if table is None:
        array = _checked(np.asarray(asked))
        for first in range(0, len(array), batch):
            yield list(shrink(array[first : first + batch].astype(np.uint8, copy=False), size))
        return
    column, cells = _column(table)
    with ThreadPoolExecutor() as pool:
        for first in range(0, len(cells), batch):
            rows = range(first, min(first + batch, len(cells)))
            files = [_file(row, column, cells.iloc[row], folder) for row in rows]
            yield list(pool.map(lambda row, file: _decoded(row, file, size, levels), rows, files))


def counted(asked: Any) -> int:
    """How many images are asked about."""
    table = _table(asked)
    return len(np.asarray(asked) if table is None else table)


def taken(asked: Any, rows: slice) -> Any:
    """Some of the images."""
    table = _table(asked)
    return np.asarray(asked)[rows] if table is None else table.iloc[rows]


def _table(asked: Any) -> pd.DataFrame | None:
    if isinstance(asked, pd.DataFrame):
        return asked
    if isinstance(asked, Mapping):
        single = all(isinstance(value, str | bytes) for value in asked.values())
        return pd.DataFrame([asked] if single else {k: list(v) for k, v in asked.items()})
    if isinstance(asked, list) and asked and isinstance(asked[0], Mapping):
        return pd.DataFrame(asked)
    return None


def _checked(array: NDArray) -> NDArray:
    if array.dtype.kind not in "ui" or array.ndim != 4 or array.shape[-1] != 3:
        raise ValueError(
            f"images are {array.dtype} {array.shape}; expected whole numbers from 0 to 255, "
            "(N, height, width, 3), or a table with a column 'image' or 'path'"
        )
    if array.dtype != np.uint8 and array.size and not 0 <= array.min() <= array.max() <= 255:
        raise ValueError(
            f"images have values from {array.min()} to {array.max()}; expected 0 to 255"
        )
    return array


def _column(table: pd.DataFrame) -> tuple[str, pd.Series]:
    names = [name for name in _COLUMNS if name in table.columns]
    if len(names) != 1:
        columns = ", ".join(map(str, table.columns)) or "none"
        raise ValueError(f"the table needs a column 'image' or 'path', one of them; has {columns}")
    return names[0], table[names[0]]


def _file(row: int, column: str, cell: Any, folder: Path | None) -> io.BytesIO | Path:
    if not isinstance(cell, str | bytes):
        raise ValueError(f"row {row}: {column} is {type(cell).__name__}, not text or bytes")
    if column == "path":
        return _allowed(row, Path(os.fsdecode(cell)), folder)
    if isinstance(cell, bytes):
        return io.BytesIO(cell)
    text = cell.partition(",")[2] if cell.startswith("data:") else cell
    try:
        return io.BytesIO(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise ValueError(f"row {row}: image is not base64") from None


def _allowed(row: int, path: Path, folder: Path | None) -> Path:
    """Refuse a path before anything is learnt about what lies there."""
    if folder is None:
        raise ValueError(
            f"row {row}: a served model reads no paths, unless CROSSFOLD_SERVE_PATHS names a "
            "folder on the server that they lie in; send a column 'image'"
        )
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):  # a loop of links; a zero byte
        inside = False
    if not inside:
        raise ValueError(f"row {row}: {path} is not in {folder}")
    if not path.is_file():
        raise ValueError(f"row {row}: no file {path}")
    return path


def _decoded(row: int, file: io.BytesIO | Path, size: int, levels: float | None) -> Pixels:
    try:
        pixels = np.asarray(decode(file, levels))
    except UndecidedError as why:
        raise ValueError(f"row {row}: the image {why}; {why.remedy}") from None
    except UnreadableError:
        raise ValueError(f"row {row}: the image cannot be read; use {', '.join(FORMATS)}") from None
    return shrink(pixels[None], size)[0]
