"""The two ways a command can end badly, and how their messages are made."""

import difflib
import errno
import re
from collections.abc import Iterable

from folds.text import one_line, shortened

LOGIN = "USER:PASSWORD@"  # what stands for them in a hint
_LOGIN = re.compile(  # to the last @: a password may hold one, and quotes
    rf"(?<=://)(?!/|{LOGIN}[^\s@]*(?:\s|$))\S*@"
)
_QUERY = re.compile(r"([?&][^\s=&]*(?:user|pass|pwd|token|secret|key)[^\s=&]*)=[^\s&]*", re.I)

_FULL = ("disk is full", "No space left on device", "Disk quota exceeded")


class UserError(Exception):
    """Bad input: one line that names the thing, the value and the remedy. Exit status 2."""


class RunError(Exception):
    """A run that could not be finished. Exit status 1."""


class DivergenceError(RunError):
    """A fold whose loss stopped being a finite number."""


def nearest(word: str, allowed: Iterable[str], *, count: int = 3) -> str:
    """Name the allowed words most like `word`, as the end of an error message.

    Returns
    -------
    str
        ``"; nearest: a, b"``, or an empty string when nothing is alike.
    """
    close = difflib.get_close_matches(word, list(allowed), n=count, cutoff=0.4)
    return f"; nearest: {listed(close)}" if close else ""


def listed(names: Iterable[str], *, most: int = 3) -> str:
    """Join the first few names, made harmless and short, and count the rest.

    Examples
    --------
    >>> listed(["a", "b", "c", "d"], most=2)
    'a, b and 2 more'
    """
    every = list(names)
    head = ", ".join(shortened(one_line(name)) for name in every[:most])
    return head if len(every) <= most else f"{head} and {len(every) - most} more"


def counted(count: int, what: str, several: str | None = None) -> str:
    """A count with its noun.

    Examples
    --------
    >>> counted(1, "copy", "copies"), counted(1200, "image")
    ('1 copy', '1,200 images')
    """
    return f"{count:,} {what if count == 1 else several or what + 's'}"


def masked(text: str, instead: str = "") -> str:
    """Take users and passwords out of the addresses in a text; schemes, hosts and ports stay.

    Parameters
    ----------
    text : str
        An address, or words among which there are some.
    instead : str
        What stands for user and password, such as ``USER:PASSWORD@``.

    Examples
    --------
    >>> masked("http://alice:pw@127.0.0.1:5000 does not answer")
    'http://127.0.0.1:5000 does not answer'
    >>> masked("postgresql://db/runs?user=alice&password=pw&sslmode=require")
    'postgresql://db/runs?user=***&password=***&sslmode=require'

    Notes
    -----
    Doing it twice changes nothing more, and what has no address is left as it is, as is `LOGIN`.
    """
    return _QUERY.sub(r"\1=***", _LOGIN.sub(instead, text)) if "://" in text else text


def reason(error: BaseException, *, most: int = 200) -> str:
    """What an error of others says, in one line without passwords.

    Parameters
    ----------
    most : int
        Letters; what is longer ends after a whole word, with three dots.

    Notes
    -----
    What SQLAlchemy adds of the statement and its values is left out.
    """
    text = masked(" ".join(str(error).split())).partition(" [SQL: ")[0] or type(error).__name__
    return text if len(text) <= most else f"{text[: most - 3].rpartition(' ')[0]}..."


def disk_full(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, says that a disk or a quota is full."""
    while error is not None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or any(words in str(error) for words in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False
