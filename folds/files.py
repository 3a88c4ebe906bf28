"""Where files go, and how: refused before the work, written whole or not at all, and sealed.

A seal is a digest of what it seals. It ends a file of bytes (`write_sealed`), and is the last value
of JSON (`sealed_json`), which stays JSON. What has been changed is found when it is read.
"""

import contextlib
import hashlib
import io
import json
import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from folds.errors import RunError, UserError, reason

_SIZE = 16  # bytes of a digest
_MARK = b"\ncrossfold-seal:"  # before the digest at the end of a file
_BLOCK = 2**20


class DamagedError(RunError, ValueError):
    """A file that is not what was written."""


def is_file(path: str | Path) -> bool:
    """Whether there is such a file; none has a name that the system does not even take."""
    return os.path.isfile(path)  # noqa: PTH113  (raises nothing)


def is_folder(path: str | Path) -> bool:
    """As `is_file`, of a folder."""
    return os.path.isdir(path)  # noqa: PTH112


def expanded(path: str | Path) -> Path:
    """A path with the home that a ``~`` stands for; as it is if nobody has that name."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


class DoubtedFile(io.BufferedReader):
    """A file open for reading that may claim to have more than it has.

    Notes
    -----
    Python makes room for all that is asked for, and a chunk of a damaged PNG may claim 4 GB.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        """Read so many bytes, or those that there are."""
        if size is not None and size > io.DEFAULT_BUFFER_SIZE:
            size = min(size, os.fstat(self.fileno()).st_size)
        return super().read(size)


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


def check_file(flag: str, path: Path) -> None:
    """Refuse a file that cannot be written, before the work that it is for.

    Parameters
    ----------
    flag : str
        As the message names it.
    path : Path

    Raises
    ------
    UserError
        Its folder is not there, or cannot be written to.
    """
    folder = path.absolute().parent
    if not is_folder(folder):
        raise UserError(f"{flag} {path}: no folder {folder}; make it")
    check_folder(f"{flag} {path}", folder)


@contextmanager
def replacing(path: Path, *, before: Path | None = None, lasting: bool = True) -> Iterator[Path]:
    """Give a file to write, which takes the place of `path` when the block has ended well.

    No reader and no crash sees half of it, also where the power fails: it is on the disk before it
    takes the other's place. The folder is made if need be.

    Parameters
    ----------
    before : Path, optional
        Where the file that was there goes.
    lasting : bool
        Whether it must outlive a loss of power, for which the disk is waited for.

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
        if lasting:
            _to_disk(scratch)
        if before is not None:
            with contextlib.suppress(FileNotFoundError):
                path.replace(before)
        scratch.replace(path)
        if lasting:
            _to_disk(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step, see `replacing`."""
    with replacing(path) as scratch:
        scratch.write_bytes(content)


def digest(content: bytes) -> str:
    """What content is known again by."""
    return hashlib.blake2b(content, digest_size=_SIZE).hexdigest()


def write_sealed(path: Path, content: bytes, *, before: Path | None = None) -> None:
    """As `write_whole`, with a seal behind the content; what was there may go to `before`."""
    with replacing(path, before=before) as scratch, scratch.open("wb") as file:
        file.write(content)
        file.write(_MARK + digest(content).encode())


def read_sealed(path: Path) -> bytes:
    """Read what `write_sealed` wrote.

    Raises
    ------
    DamagedError
        It is not what was written.
    """
    content, mark, seal = path.read_bytes().rpartition(_MARK)
    if not mark or seal != digest(content).encode():
        raise DamagedError(f"{path}: damaged, its checksum is another")
    return content


def seal(path: Path) -> None:
    """Put a seal behind a file that is not in use yet."""
    found = _file_digest(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(_MARK + found)


def seal_holds(path: Path) -> bool:
    """Whether a sealed file of any size is as it was written."""
    end = len(_MARK) + 2 * _SIZE
    size = path.stat().st_size - end
    if size < 0:
        return False
    with path.open("rb") as file:
        file.seek(size)
        return file.read() == _MARK + _file_digest(path, size)


def _file_digest(path: Path, size: int) -> bytes:
    """Digest of the first bytes of a file."""
    found = hashlib.blake2b(digest_size=_SIZE)
    with path.open("rb") as file:
        while size > 0 and (block := file.read(min(size, _BLOCK))):
            found.update(block)
            size -= len(block)
    return found.hexdigest().encode()


def sealed_json(values: Mapping[str, Any]) -> str:
    """One line of JSON with a seal as its last value.

    Notes
    -----
    The seal is of the values: blanks, and how a number is written, do not count.
    """
    return json.dumps({**values, "seal": digest(json.dumps(values).encode())})


def opened_json(text: str | bytes, name: object) -> dict[str, Any]:
    """Read what `sealed_json` gave.

    Parameters
    ----------
    name : object
        Of the file, for the message.

    Raises
    ------
    DamagedError
        It is not what was written.
    """
    try:
        values = json.loads(text)
        seal = values.pop("seal")
        if seal == digest(json.dumps(values).encode()):
            return dict(values)
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):  # not such JSON
        pass
    raise DamagedError(f"{name}: damaged, its checksum is another")


def write_values(path: Path, values: Mapping[str, Any]) -> None:
    """Replace a small file of JSON; there is always a second one, of the values before or equal."""
    content, second = sealed_json(values).encode(), _second(path)
    if not path.exists():
        write_whole(second, content)
        write_whole(path, content)
        return
    with replacing(path, before=second) as scratch:
        scratch.write_bytes(content)


def read_values(path: Path) -> dict[str, Any]:
    """Read what `write_values` wrote: where it is damaged, the second file.

    Raises
    ------
    DamagedError
        Both are.
    OSError
        Neither is there.
    """
    try:
        return opened_json(path.read_bytes(), path)
    except (DamagedError, FileNotFoundError):
        second = _second(path)
        if not second.exists():
            raise
        return opened_json(second.read_bytes(), path)


def _second(path: Path) -> Path:
    return path.with_name(f"{path.stem}.before{path.suffix}")


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
