"""Folders for large files that live as long as a run, on each machine that takes part.

Imports little, so that a task which only cleans up starts soon.
"""

import fcntl
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from folds.errors import UserError
from folds.files import cache_folder

_held: list[IO[str]] = []  # locks of this process, until it ends


def root(stream_dir: str | None) -> Path:
    """Where scratch folders lie on this machine."""
    if stream_dir is not None:
        return Path(stream_dir).expanduser().absolute()
    return cache_folder()


def new(place: Path) -> Path:
    """Make a folder that only this run has.

    Raises
    ------
    UserError
        Nothing can be written there.
    """
    return claim(place, f"run-{uuid.uuid4().hex[:12]}")


def claim(place: Path, name: str) -> Path:
    """Make a folder, or join those who use it; it is ours until this process ends.

    Folders whose processes have all died, before they could remove them, are removed now.

    Raises
    ------
    UserError
        Nothing can be written there.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
        with locked(place / "lock"):
            _sweep(place)
            (place / name).mkdir(exist_ok=True)
            handle = (place / name / "in-use").open("w")
            fcntl.flock(handle, fcntl.LOCK_SH)
    except OSError as error:
        raise UserError(
            f"--stream-dir {place}: {error.strerror}; name a folder that can be written to"
        ) from None
    _held.append(handle)
    return place / name


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; others wait."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _sweep(place: Path) -> None:
    for mark in place.glob("run-*/in-use"):
        with mark.open("r+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
        remove(mark.parent)


def remove(folder: Path) -> None:
    """Delete a folder; files that somebody still reads go when he closes them."""
    shutil.rmtree(folder, ignore_errors=True)


def discard(stream_dir: str | None, name: str) -> None:
    """Delete this machine's folder of that name."""
    remove(root(stream_dir) / name)
