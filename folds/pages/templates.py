"""Templates of pages: everything that goes into one is escaped."""

import jinja2

from folds.errors import counted as number
from folds.text import shown

__all__ = ["environment", "number"]


def environment(package: str) -> jinja2.Environment:
    """Templates of a package, and those that all pages share.

    Parameters
    ----------
    package : str
        Whose folder holds ``*.j2``, such as ``folds.audit``.

    Notes
    -----
    What is untrusted (names of classes, ids) cannot become markup: autoescape is on. Nor can it
    turn the direction of writing, or hold what no page may, see `folds.text.shown`.
    """
    templates = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package, ""), jinja2.PackageLoader("folds.pages", "")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: shown(value) if type(value) is str else value,
    )
    templates.filters["number"] = number
    return templates
