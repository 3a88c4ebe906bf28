"""Reading a CSV or Parquet table of image files, their labels, groups, sites and slices."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from folds.errors import UserError, listed, nearest, reason
from folds.files import is_file
from folds.images.columns import no_column
from folds.images.imageset import SITE, singletons, stratified
from folds.images.listing import Listing, Unlabelled, decode_unlabelled, listing
from folds.images.survey import Target

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet")
_COLUMNS = ("path", "label", "group", SITE)
_MOST_BYTES = (
    2**29
)  # of a table's file, and of its cells; each array of them has four times as much
_MOST_LETTERS = 10_000  # of a cell
_CELL = 16  # bytes that a row takes at least
_ROWS = 256  # of a Parquet file that are counted at a time
Text = NDArray[np.str_]


def survey(
    path: Path,
    target: Target,
    *,
    limit: int | None = None,
    seed: int = 0,
    slices: Sequence[str] = (),
) -> Listing:
    """List the image files of a table of columns ``path``, ``label``; also ``group`` and ``site``.

    Paths are relative to the table's folder, or absolute. Cells are text: ``NA`` and ``01`` are
    names of classes as good as others. The classes are in the order of their names, the files in
    that of their ids, whatever the order of the rows.

    Parameters
    ----------
    path : Path
        The table.
    target : Target
        What the files are decoded to.
    limit, seed : int
        List no more files than this, a stratified choice. Broken files count.
    slices : sequence of str
        Further columns to be kept, whose cells may be empty.

    Raises
    ------
    UserError
        The table is damaged or empty, a column or cell is missing, a file is not there or stands
        in it twice.
    """
    frame = _frame(path, slices)
    label = _cells(path, frame, "label")
    root, ids = _files(path, frame)
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    names, labels = np.unique(label[order], return_inverse=True)
    groups = _cells(path, frame, "group")[order] if "group" in frame else singletons(ids)
    classes = tuple(names.tolist())
    rows = stratified(labels, classes, limit, seed=seed)
    others = {name: values[order][rows] for name, values in _others(path, frame, slices).items()}
    facts = ids[rows], labels[rows], groups[rows], classes
    return listing(path, root, *facts, target, columns=others)


def load_unlabelled(path: Path, target: Target, *, skip_broken: bool) -> Unlabelled:
    """Read the files of a table's column ``path``, in the order of the rows."""
    root, ids = list_unlabelled(path)
    return decode_unlabelled(path, root, ids, target, skip_broken=skip_broken)


def list_unlabelled(path: Path) -> tuple[Path, Text]:
    """A table's folder, and the files of its column ``path``."""
    return _files(path, _frame(path))


def root_of(path: Path) -> Path:
    """The folder of a table, which the ids of its files are relative to."""
    return Path(os.path.normpath(path.absolute().parent))


def _frame(path: Path, slices: Sequence[str] = ()) -> "pd.DataFrame":
    """The whole table; a CSV's cells as text."""
    import pandas as pd  # half a second that other sources need not wait

    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES:,} bytes")
        if path.suffix.lower() == ".csv":
            frame = pd.read_csv(path, dtype=str, na_filter=False, encoding="utf-8-sig")
            if not isinstance(frame.index, pd.RangeIndex):
                raise ValueError("rows have more cells than the header")
        else:
            frame = _parquet(path, (*_COLUMNS, *slices))
    except Exception as error:  # of a damaged Parquet file Arrow raises dozens of types
        raise _damaged(path, error) from None
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    if not len(frame):
        raise UserError(f"--data {path}: the table has no rows; give one an image")
    return frame


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"--data {path}: not a readable table ({reason(error)}); save it anew, a CSV as UTF-8"
    )


def _parquet(path: Path, columns: Sequence[str]) -> "pd.DataFrame":
    """A Parquet file's columns of these names; the others are empty.

    In it a few bytes may stand for billions of cells: they are counted, some at a time, before they
    are read at once.
    """
    import pandas as pd
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        wanted = [name for name in names if name.strip() in columns]
        size = 0
        for batch in file.iter_batches(_ROWS, columns=wanted):
            size += batch.nbytes + _CELL * batch.num_rows
            if size > _MOST_BYTES:
                raise ValueError(f"more than {_MOST_BYTES:,} bytes of cells")
    frame = pd.read_parquet(path, columns=wanted, dtype_backend="numpy_nullable")
    return frame.assign(**{name: "" for name in names if name not in wanted})


def _others(path: Path, frame: "pd.DataFrame", slices: Sequence[str]) -> dict[str, Text]:
    """The sites, if there are some, and the slices."""
    others = {SITE: _cells(path, frame, SITE)} if SITE in frame else {}
    for name in slices:
        if name not in frame:
            raise UserError(no_column(path, name, frame.columns))
        others[name] = _cells(path, frame, name, gaps=True)
    return others


def _cells(path: Path, frame: "pd.DataFrame", name: str, *, gaps: bool = False) -> Text:
    """A column as text without spaces around it; with `gaps` cells may be empty."""
    if name not in frame:
        columns = [str(column) for column in frame.columns]
        near = nearest(name, columns)
        raise UserError(
            f"--data {path}: no column {name!r} among {listed(columns, most=8)}{near}; "
            "the columns are path, label and, if you like, group and site"
        )
    column = frame[name]
    try:
        cells = np.where(column.isna(), "", column.astype(str).str.strip())
    except Exception as error:  # Arrow looks at what a Parquet file calls a text only now
        raise _damaged(path, error) from None
    longest = max(map(len, cells.tolist()))
    if longest > _MOST_LETTERS or longest * len(cells) > _MOST_BYTES:
        raise UserError(
            f"--data {path}: a cell of column {name!r} has {longest:,} characters; give each at "
            f"most {min(_MOST_LETTERS, _MOST_BYTES // len(cells)):,}"
        )
    text = cells.astype(np.str_)
    empty = np.flatnonzero(text == "")
    if len(empty) and not gaps:
        raise UserError(
            f"--data {path}: {len(empty)} cells of column {name!r} are empty, the first in row "
            f"{empty[0] + 1} below the header; fill them, or remove the rows"
        )
    return text


def _files(path: Path, frame: "pd.DataFrame") -> tuple[Path, Text]:
    """The table's folder and the files' paths, those inside the folder relative to it."""
    root = root_of(path)
    cells = _cells(path, frame, "path").tolist()
    files = [os.path.normpath(root / cell) for cell in cells]
    missing = [cell for cell, file in zip(cells, files, strict=True) if not is_file(file)]
    if missing:
        raise UserError(
            f"--data {path}: {len(missing)} of {len(files)} files are not there "
            f"({listed(missing)}); paths are relative to the table's folder, or absolute"
        )
    ids = np.array([file.removeprefix(f"{root}{os.sep}") for file in files], dtype=np.str_)
    names, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        twice = names[counts > 1]
        raise UserError(
            f"--data {path}: {len(twice)} files stand in more than one row ({listed(twice)}); "
            "keep one row a file"
        )
    return root, ids
