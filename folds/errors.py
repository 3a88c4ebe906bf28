"""The two ways a command can end badly, and how their messages are made."""

import difflib
from collections.abc import Iterable


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
    return f"; nearest: {', '.join(close)}" if close else ""


def listed(names: Iterable[str], *, most: int = 3) -> str:
    """Join the first few names, and count the rest.

    Examples
    --------
    >>> listed(["a", "b", "c", "d"], most=2)
    'a, b and 2 more'
    """
    every = list(names)
    head = ", ".join(every[:most])
    return head if len(every) <= most else f"{head} and {len(every) - most} more"


def counted(count: int, what: str, several: str | None = None) -> str:
    """A count with its noun.

    Examples
    --------
    >>> counted(1, "copy", "copies"), counted(1200, "image")
    ('1 copy', '1,200 images')
    """
    return f"{count:,} {what if count == 1 else several or what + 's'}"
