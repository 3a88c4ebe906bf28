"""Where files go, and how: refused before the work, written whole or not at all."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from folds.errors import RunError, UserError, reason


def check_folder(flag: str, folder: Path) -> None:
    """Refuse a folder that can neither be written to nor made.

    Parameters
    ----------
    flag : str
        And value, as the message names them.
    folder : Path
        It need not be there yet.

    Raises
    ------
    UserError
        It is a file, or lies where folders may not be made, or looked into.
    """
    above = folder.absolute()
    try:
        while not above.exists():
            above = above.parent
        tempfile.TemporaryFile(dir=above).close()
    except OSError:
        raise UserError(f"{flag}: {above} is no folder that can be written to") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file to write, which takes the place of `path` when the block has ended well.

    No reader and no crash sees half of it, also where the power fails: it is on the disk before it
    takes the other's place. The folder is made if need be.

    Raises
    ------
    OSError
        The disk is full, or the file cannot be written; what was there before stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # a name of its own: two processes may write the same file of a cache, and in containers on
    # one disk even their ids are the same
    scratch = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        yield scratch
        _flush(scratch)
        scratch.replace(path)
        _flush(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step, see `replacing`."""
    with replacing(path) as scratch:
        scratch.write_bytes(content)


@contextmanager
def output_file(path: Path) -> Iterator[Path]:
    """As `replacing`, for a file that the user has asked for: tells of it if it cannot be written.

    Raises
    ------
    RunError
        The disk is full, or the file cannot be written.
    """
    try:
        with replacing(path) as scratch:
            yield scratch
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror or reason(error)})") from None


def cache_folder() -> Path:
    """``crossfold`` in the user's cache: in ``XDG_CACHE_HOME``, or else in ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "crossfold"
