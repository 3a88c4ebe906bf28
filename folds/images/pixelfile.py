"""Images in a file: what takes the place of an array when they are too many for memory."""

import io
import math
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

_PIECE = 4 * 2**20  # bytes that are held at a time
Shape = tuple[int, int, int, int]


class PixelFile:
    """Images of one size in a .npy file, read when they are asked for.

    Parameters
    ----------
    path : Path
        A file that `PixelWriter` has written; it may not change afterwards.

    Raises
    ------
    ValueError
        Not a .npy file of uint8, shape (N, H, W, 3), in C order.

    Notes
    -----
    Rows are read with `os.pread` and not through a memory map: what was read belongs to the
    system's page cache and not to this process, however much of the file it has visited. Threads
    may read at the same time. Pickled, it is its path: the receiver needs the file.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            self._offset = file.tell()
        if len(shape) != 4 or shape[3] != 3 or dtype != self.dtype or fortran:
            raise ValueError(f"{path}: {dtype} {shape} is not uint8 (N, H, W, 3) in C order")
        self.shape: Shape = shape

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return len(self) * self._stride

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Read images as an array's index would give them; a step must be 1."""
        if isinstance(rows, slice):
            first, last, step = rows.indices(len(self))
            if step != 1:
                raise IndexError(f"a slice of a PixelFile has step 1, not {step}")
            out = np.empty((max(last - first, 0), *self.shape[1:]), self.dtype)
            self._read(out, first)
            return out
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        self.read_into(out, rows)
        return out

    def read_into(self, out: NDArray[np.uint8], rows: NDArray[np.integer]) -> None:
        """Read images into an array of theirs.

        Parameters
        ----------
        out : ndarray of uint8, shape (B, H, W, 3)
        rows : ndarray of int, shape (B,)
            Negative ones count from the end.

        Raises
        ------
        IndexError
            A row is not there.
        """
        if len(rows) and not (-len(self) <= rows.min() and rows.max() < len(self)):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)} images")
        for target, row in zip(out, rows.tolist(), strict=True):
            self._read(target, row % len(self))

    def kept(self, rows: NDArray[np.integer]) -> Self:
        """Images of these ascending rows in a file of their own, which takes this one's place."""
        path = self.path.with_name(f"kept-{self.path.name}")
        write_pixels(path, self, rows)
        self.path.unlink(missing_ok=True)  # where they were kept before, for another trial
        return type(self)(path)

    def _read(self, out: NDArray[np.uint8], row: int) -> None:
        """Fill a contiguous array from a row on."""
        view = out.reshape(-1).data
        place = self._offset + row * self._stride
        while len(view):
            content = os.pread(self._file.fileno(), min(len(view), _PIECE), place)
            if not content:
                raise OSError(f"{self.path}: ends before image {row}")
            view[: len(content)] = content
            view, place = view[len(content) :], place + len(content)

    @property
    def _stride(self) -> int:
        return math.prod(self.shape[1:])

    @cached_property
    def _file(self) -> BinaryIO:
        return self.path.open("rb", buffering=0)

    def __getstate__(self) -> dict[str, Any]:
        return _picklable(self)


def _picklable(holder: "PixelFile | PixelWriter") -> dict[str, Any]:
    """What makes up a reader or writer, without its open file."""
    return {name: value for name, value in vars(holder).items() if name != "_file"}


Pixels = NDArray[np.uint8] | PixelFile


class PixelWriter:
    """Fills a new `PixelFile`, in any order; use it in a ``with`` block.

    Other processes of the machine may be given it inside of that block, to write some of the rows.

    Parameters
    ----------
    path : Path
        There is no file of this name before `finish`.
    shape : tuple of int
        (N, H, W, 3).

    Raises
    ------
    OSError
        The disk is full or cannot be written to.
    """

    def __init__(self, path: Path, shape: Shape) -> None:
        self._path, self._shape = path, shape
        self._stride, self._header = math.prod(shape[1:]), _header(shape)

    def __enter__(self) -> Self:
        self._part.touch()
        self._file.truncate(len(self._header) + self._shape[0] * self._stride)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)

    def write(self, rows: NDArray[np.integer], pixels: NDArray[np.uint8]) -> None:
        """Put images into their rows.

        Parameters
        ----------
        rows : ndarray of int, shape (B,)
            From 0.
        pixels : ndarray of uint8, shape (B, H, W, 3)
        """
        if pixels.shape[1:] != self._shape[1:] or pixels.dtype != np.uint8:
            raise ValueError(f"{pixels.dtype} {pixels.shape} into a file of {self._shape}")
        for row, image in zip(rows.tolist(), pixels, strict=True):
            self._put(np.ascontiguousarray(image).reshape(-1).data, row)

    def finish(self, kept: NDArray[np.integer] | None = None) -> PixelFile:
        """Complete the file.

        Parameters
        ----------
        kept : ndarray of int, ascending, optional
            Rows that stay, moved together; default: all.
        """
        count = self._shape[0] if kept is None else len(kept)
        for target, row in enumerate([] if kept is None else kept.tolist()):
            if target != row:
                self._put(os.pread(self._file.fileno(), self._stride, self._place(row)), target)
        self._file.truncate(self._place(count))
        os.pwrite(self._file.fileno(), _header((count, *self._shape[1:])), 0)
        self._part.replace(self._path)
        return PixelFile(self._path)

    def __getstate__(self) -> dict[str, Any]:
        return _picklable(self)

    def _put(self, content: bytes | memoryview, row: int) -> None:
        place = self._place(row)
        while content:
            done = os.pwrite(self._file.fileno(), content, place)
            content, place = content[done:], place + done

    @cached_property
    def _file(self) -> BinaryIO:
        return self._part.open("r+b", buffering=0)

    def _place(self, row: int) -> int:
        return len(self._header) + row * self._stride

    @property
    def _part(self) -> Path:
        # not `folds.files.replacing`: other processes that write rows must find it by its name
        return self._path.with_name(self._path.name + ".part")


def write_pixels(path: Path, pixels: Pixels, rows: NDArray[np.integer]) -> PixelFile:
    """Copy images into a new file, some megabytes at a time.

    Parameters
    ----------
    path : Path
    pixels : ndarray of uint8 or PixelFile, shape (N, H, W, 3)
    rows : ndarray of int, shape (K,)
        Which, in their order in the new file.
    """
    shape = len(rows), *pixels.shape[1:]
    with PixelWriter(path, shape) as writer:
        for piece in pieces(shape):
            writer.write(np.arange(piece.start, piece.stop), pixels[rows[piece]])
        return writer.finish()


def _header(shape: tuple[int, ...]) -> bytes:
    """The head of a .npy file, of one length whatever the number of rows."""
    buffer = io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()


def pieces(shape: tuple[int, ...]) -> Iterator[slice]:
    """Divide images into runs of rows that take some megabytes each.

    Parameters
    ----------
    shape : tuple of int
        (N, ...) of uint8.

    Yields
    ------
    slice
        In order; together all rows.
    """
    rows = max(1, _PIECE // max(1, math.prod(shape[1:])))
    for first in range(0, shape[0], rows):
        yield slice(first, min(first + rows, shape[0]))
