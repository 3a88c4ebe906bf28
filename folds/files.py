"""Where files go, and how: refused before the work, written whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from folds.errors import RunError, UserError


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
        It is a file, or lies where folders may not be made.
    """
    above = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=above).close()
    except OSError:
        raise UserError(f"{flag}: {above} is no folder that can be written to") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file to write, which takes the place of `path` when the block has ended well.

    The folder is made if need be.

    Raises
    ------
    RunError
        The disk is full, or the file cannot be written.
    """
    scratch = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield scratch
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror})") from None


def cache_folder() -> Path:
    """``crossfold`` in the user's cache: in ``XDG_CACHE_HOME``, or else in ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "crossfold"
