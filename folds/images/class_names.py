"""What names of classes and images must be like, so that every table and page can show them."""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from folds.errors import UserError, listed


def check_names(source: object, class_names: Sequence[str], ids: Iterable[str]) -> tuple[str, ...]:
    """Refuse names that cannot be told apart or written; tell of those that hardly can.

    Parameters
    ----------
    source : object
        As messages name it after ``--data``.
    class_names : sequence of str
    ids : iterable of str

    Returns
    -------
    tuple of str
        Notices: classes whose names differ in case, blanks or Unicode form alone.

    Raises
    ------
    UserError
        A name is empty, holds control characters or bytes that are not UTF-8, or two are the same.
    """
    for name in class_names:
        if problem := _problem(name):
            raise UserError(f"--data {source}: class name {name!r} {problem}; rename the class")
    if len(set(class_names)) < len(class_names):
        twice = sorted({name for name in class_names if list(class_names).count(name) > 1})
        raise UserError(
            f"--data {source}: several classes are called {listed(map(repr, twice))}; give each "
            "its own name, or its images the same label"
        )
    check_ids(source, ids)
    return _look_alikes(class_names)


def check_ids(source: object, ids: Iterable[str]) -> None:
    """Refuse names of images that are not UTF-8.

    Raises
    ------
    UserError
        It names them as Python writes them, byte e4 as ``udce4``.
    """
    names = list(ids)
    if not writable("".join(names)):
        bad = [repr(name) for name in names if not writable(name)]
        raise UserError(
            f"--data {source}: {len(bad)} of {len(names)} file names are not UTF-8 "
            f"({listed(bad)}); rename them"
        )


def writable(text: str) -> bool:
    """Whether a text has no surrogates, which stand for bytes that could not be decoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _problem(name: str) -> str | None:
    """What is wrong with a class's name."""
    if not name.strip():
        return "is empty"
    if not writable(name):
        return "is not UTF-8"
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in name):
        return "holds control characters"
    return None


def _look_alikes(class_names: Sequence[str]) -> tuple[str, ...]:
    alike = defaultdict(list)
    for name in class_names:
        alike[_bare(name)].append(name)
    return tuple(
        f"classes {listed(map(_shown(names), names), most=8)} differ in case, blanks or Unicode "
        "form alone and are trained as different ones; give them one name if they are one"
        for names in alike.values()
        if len(names) > 1
    )


def _shown(names: Sequence[str]) -> Callable[[str], str]:
    """How to write names so that they differ: in ASCII where one letter has several forms."""
    forms = {unicodedata.normalize("NFKC", name) for name in names}
    return repr if len(forms) == len(names) else ascii


def _bare(name: str) -> str:
    """A name without what a reader hardly sees: case, blanks, form, invisible characters."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(
        letter for letter in folded
        if not letter.isspace() and unicodedata.category(letter) != "Cf"
    )  # fmt: skip
