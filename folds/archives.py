"""Reading .npz archives of others: nothing is unpickled, nothing is larger than it says."""

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from folds.errors import UserError

# an array that is larger, and that many times larger than what it is compressed to, is a trap:
# photographs are compressed to a half, drawings to a tenth
LARGE, RATIO = 2**28, 200  # bytes
Archive = Path | IO[bytes]
_PIECE = 2**22  # bytes that are decompressed at a time
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what numpy writes


class ArchiveError(ValueError):
    """Not an .npz archive, or one that is not to be read; one line says why."""


class ObjectsError(ArchiveError):
    """It holds Python objects, which would have to be unpickled."""


@dataclass(frozen=True)
class Member:
    """An array in an archive, where its first value lies.

    Parameters
    ----------
    file : binary file
    shape : tuple of int
    dtype : dtype
        Of numbers or texts.
    fortran : bool
        Whether the first axis varies fastest.
    """

    file: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool


def read_arrays(path: Archive, *wanted: str) -> dict[str, NDArray]:
    """Read arrays by name; all where none is named.

    Raises
    ------
    OSError
        There is no such file.
    ArchiveError
        See `member`; or one is not there.
    """
    return {name: _read(path, name) for name in wanted or names(path)}


def names(path: Archive) -> list[str]:
    """Names of the arrays in an archive."""
    with _opened(path) as archive:
        found = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    return list(dict.fromkeys(found))


@contextmanager
def member(path: Archive, name: str) -> Iterator[Member]:
    """Open an array inside an archive.

    Raises
    ------
    ArchiveError
        It is damaged, holds objects, or claims another size than it has; or is so much larger than
        what it is compressed to that it was made to fill a memory.
    """
    with _opened(path) as archive:
        about = archive.getinfo(f"{name}.npy")
        if about.compress_type not in _PLAIN:
            raise ArchiveError(f"{name} is compressed as numpy never does; save it anew")
        if about.file_size > max(LARGE, RATIO * about.compress_size):
            raise ArchiveError(
                f"{name} would grow from {about.compress_size:,} bytes to {about.file_size:,}; "
                "save it uncompressed if that is meant"
            )
        with archive.open(about) as file:
            found = _header(file)
            size, told = about.file_size - file.tell(), _nbytes(found)
            if size != told:
                raise ArchiveError(f"{name} claims {told:,} bytes and has {size:,}")
            yield found


def _header(file: IO[bytes]) -> Member:
    version = np.lib.format.read_magic(file)
    shape, fortran, dtype = (
        np.lib.format.read_array_header_1_0(file)
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0(file)
    )
    if dtype.hasobject:
        raise ObjectsError("object arrays would have to be unpickled")
    if min(shape, default=0) < 0 or dtype.kind not in "biufcUS" or not dtype.itemsize:
        raise ArchiveError(f"an array of {dtype} {shape} holds neither numbers nor texts")
    return Member(file, shape, dtype, fortran)


def _nbytes(found: Member) -> int:
    return math.prod(found.shape) * found.dtype.itemsize


def _read(path: Archive, name: str) -> NDArray:
    with member(path, name) as found:
        content = bytearray(_nbytes(found))
        for start in range(0, len(content), _PIECE):
            stop = min(start + _PIECE, len(content))
            content[start:stop] = found.file.read(stop - start)
        flat = np.frombuffer(content, found.dtype)
        return flat.reshape(found.shape, order="F" if found.fortran else "C")


@contextmanager
def _opened(path: Archive) -> Iterator[zipfile.ZipFile]:
    """Open an archive; what zlib, struct, zipfile and numpy raise in the block is one error."""
    with path.open("rb") if isinstance(path, Path) else nullcontext(path) as content:
        try:
            with zipfile.ZipFile(content) as archive:
                yield archive
        except (ArchiveError, UserError):
            raise
        except Exception as error:
            raise ArchiveError(" ".join(str(error).split()) or type(error).__name__) from None
