"""Templates of pages: everything that goes into one is escaped."""

import jinja2


def environment(package: str) -> jinja2.Environment:
    """Templates of a package, and those that all pages share.

    Parameters
    ----------
    package : str
        Whose folder holds ``*.j2``, such as ``folds.audit``.

    Notes
    -----
    What is untrusted (names of classes, ids) cannot become markup: autoescape is on.
    """
    templates = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package, ""), jinja2.PackageLoader("folds.pages", "")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["number"] = number
    return templates


def number(count: int, what: str, several: str | None = None) -> str:
    """A count with its noun.

    Examples
    --------
    >>> number(1, "copy", "copies"), number(1200, "image")
    ('1 copy', '1,200 images')
    """
    return f"{count:,} {what if count == 1 else several or what + 's'}"
