"""Sources of images that the user calls by names: ``NAME=SOURCE``."""

import re
from typing import Any

_NAME = re.compile(r"[A-Za-z]\w*")


def check_name(name: str) -> str:
    """Give a name back that scores can be called by.

    Raises
    ------
    ValueError
        It is not made of letters, digits and _.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("must be a name of letters, digits and _, as scanner; rename the column")
    return name


def check_named(given: str) -> str:
    """Give a word back that is ``NAME=SOURCE``.

    Raises
    ------
    ValueError
        It is something else.
    """
    name, _, source = given.partition("=")
    if not source or not _NAME.fullmatch(name):
        raise ValueError("must be NAME=SOURCE, the name of letters, digits and _, as lab2=lab2/")
    return given


def check_unique(given: tuple[str, ...]) -> tuple[str, ...]:
    """Give words back whose names differ.

    Raises
    ------
    ValueError
        Two are called the same.
    """
    names = [text.partition("=")[0] for text in given]
    if len(set(names)) < len(names):
        raise ValueError("two of them have one name; give each its own")
    return given


def words(given: Any) -> list[str]:
    """Read words that stand alone or between commas: ``a,b``, or a list of such texts."""
    parts = given if isinstance(given, list | tuple) else [given]
    return [word for part in parts for word in str(part).split(",") if word.strip()]


def by_name(given: tuple[str, ...]) -> dict[str, str]:
    """The sources of such words by their names."""
    return dict(text.split("=", 1) for text in given)
