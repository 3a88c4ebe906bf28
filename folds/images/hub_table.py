"""The table of a data set of the Hugging Face hub: images as files' bytes, labels, other columns.

What features the columns have is kept in the schema. pyarrow alone reads it, some rows at a time.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from folds.arrays import Ints
from folds.documents import DocumentError, read_json
from folds.errors import UserError, listed, reason
from folds.images.hub import Parts

_ROWS = 256  # that are read at a time
_MOST_ROWS = 2**26  # of a part: in a Parquet file a few bytes may stand for billions
_MOST_LETTERS = 10_000  # of a cell
_IMAGES, _LABELS = ("image", "img", "images"), ("label", "labels")  # where no feature says it

Text = NDArray[np.str_]


@dataclass(frozen=True)
class HubTable:
    """N rows, each an image.

    Parameters
    ----------
    path : Path
        The folder, as messages name it.
    parts : mapping of str to sequence of Path
        Names of those that are read, and their files, see `folds.images.hub.parts_of`.

    Raises
    ------
    UserError
        By each method: a file is damaged, or the column is not there or not as it should be.
    """

    path: Path
    parts: Parts

    @cached_property
    def ids(self) -> Text:
        """Names of the rows, as ``train/0000012``, shape (N,)."""
        name = self.columns[0]
        names = []
        for part, files in self.parts.items():
            count = sum(len(cells) for cells in self._column(name, files))
            names += [f"{part}/{row:07d}" if part else f"{row:07d}" for row in range(count)]
        return np.array(names, dtype=np.str_)

    @cached_property
    def columns(self) -> list[str]:
        """Names of the columns."""
        with _naming(self.path):
            return list(self._schema.names)

    def labels(self) -> tuple[Ints, tuple[str, ...]]:
        """Labels (N,), and the names of those classes that have images."""
        name = self._named("ClassLabel", _LABELS, "labels")
        cells = self._cells(name)
        names = self._features.get(name, {}).get("names")
        if isinstance(names, list):
            wrong = [
                cell for cell in cells if not isinstance(cell, int) or not 0 <= cell < len(names)
            ]
            if wrong:
                raise UserError(
                    f"--data {self.path}: {len(wrong)} of {len(cells)} values of {name!r} are none "
                    f"of its {len(names)} classes ({listed(map(repr, wrong))}); label them, or "
                    "remove the rows"
                )
            values, labels = np.unique(np.array(cells, np.int64), return_inverse=True)
            return labels.astype(np.int64), tuple(str(names[value]) for value in values)
        if not all(isinstance(cell, int) for cell in cells):
            cells = self.texts(name).tolist()
        values, labels = np.unique(cells, return_inverse=True)
        return labels.astype(np.int64), tuple(str(value) for value in values)

    def texts(self, name: str, *, gaps: bool = False) -> Text:
        """A column of texts or integers, shape (N,); with `gaps` cells may be empty."""
        cells = ["" if cell is None else cell for cell in self._cells(name)]
        if not all(isinstance(cell, str | int) for cell in cells):
            raise UserError(f"--data {self.path}: {name!r} holds neither texts nor integers")
        texts = [str(cell).strip() for cell in cells]
        if max(map(len, texts)) > _MOST_LETTERS or (not gaps and "" in texts):
            raise UserError(
                f"--data {self.path}: cells of {name!r} are empty, or longer than {_MOST_LETTERS:,}"
            )
        return np.array(texts, dtype=np.str_)

    def files(self) -> Iterator[list[bytes | None]]:
        """The images' files, some rows at a time; None where there are no bytes."""
        name = self._named("Image", _IMAGES, "images")
        kind = self._schema.field(name).type
        nested = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
        for files in self.parts.values():
            for cells in self._column(name, files):
                held = cells.field("bytes") if nested else cells
                if not (pa.types.is_binary(held.type) or pa.types.is_large_binary(held.type)):
                    raise UserError(
                        f"--data {self.path}: {name!r} holds {kind}, no bytes of image files; save "
                        "it as datasets.Image"
                    )
                yield held.to_pylist()

    def _cells(self, name: str) -> list[Any]:
        """A column as Python's values, one for each row."""
        with _naming(self.path):
            cells = [
                cell
                for files in self.parts.values()
                for some in self._column(name, files)
                for cell in some.to_pylist()
            ]
            self.check_rows(len(cells))
        return cells

    def check_rows(self, count: int) -> None:
        """Refuse columns of different lengths, which damaged files have, and tables without rows.

        Raises
        ------
        UserError
            There are other than N values, or N is 0.
        """
        if count != len(self.ids) or not count:
            raise UserError(
                f"--data {self.path}: a column has {count} values for {len(self.ids)} rows; save "
                "the data set anew, with an image in it at least"
            )

    def _column(self, name: str, files: Sequence[Path]) -> Iterator[pa.Array]:
        """A column, some rows at a time."""
        rows = 0
        with _naming(self.path):
            for file in files:
                for batch in _batches(file, name):
                    rows += len(batch)
                    if rows > _MOST_ROWS:
                        raise UserError(
                            f"--data {self.path}: more than {_MOST_ROWS:,} rows; name a part, or "
                            "save fewer images"
                        )
                    yield batch.column(0)

    @cached_property
    def _schema(self) -> pa.Schema:
        with _naming(self.path):
            return _schema_of(next(file for files in self.parts.values() for file in files))

    @cached_property
    def _features(self) -> dict[str, dict[str, Any]]:
        """What the columns are, by their names; empty where the schema does not tell."""
        text = (self._schema.metadata or {}).get(b"huggingface", b"{}")
        try:
            found = read_json(text.decode())["info"]["features"]
            return {name: one for name, one in found.items() if isinstance(one, dict)}
        except (DocumentError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
            return {}

    def _named(self, kind: str, usual: Sequence[str], what: str) -> str:
        """The column of a kind of feature: the only one, or that of a usual name."""
        columns = [
            name for name in self.columns if self._features.get(name, {}).get("_type") == kind
        ]
        if len(columns) == 1:
            return columns[0]
        for name in usual:
            if name in (columns or self.columns):
                return name
        raise UserError(
            f"--data {self.path}: no column has the {what}, or several may, among "
            f"{listed(self.columns, most=8)}; call it {usual[0]!r}"
        )


def _schema_of(file: Path) -> pa.Schema:
    if file.suffix == ".parquet":
        return pq.read_schema(file)
    with pa.memory_map(str(file)) as content, pa.ipc.open_stream(content) as stream:
        return stream.schema


def _batches(file: Path, name: str) -> Iterator[pa.RecordBatch]:
    """A column of a file, some rows at a time, checked to be what it says."""
    if file.suffix == ".parquet":
        with pq.ParquetFile(file) as table:
            for batch in table.iter_batches(_ROWS, columns=[name]):
                yield batch.select([name])
        return
    with pa.memory_map(str(file)) as content, pa.ipc.open_stream(content) as stream:
        for whole in stream:
            batch = whole.select([name])
            batch.validate(full=True)
            for first in range(0, len(batch), _ROWS):
                yield batch.slice(first, _ROWS)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the data set whose files are damaged: Arrow raises dozens of types."""
    try:
        yield
    except UserError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise UserError(
            f"--data {path}: a table in it cannot be read ({reason(error)}); copy or save it anew"
        ) from None
