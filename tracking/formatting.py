"""Figures as they are written on a page."""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from folds.config.scores import TITLES
from tracking.summary_parts import Estimate

SHARES = ("accuracy", "balanced_accuracy", "macro_f1", "precision", "recall", "f1")
"""Scores that are written in per cent."""


def title(name: str) -> str:
    """A score's name for people."""
    return TITLES.get(name, name.replace("_", " "))


def figure(value: float | None, name: str = "accuracy") -> str:
    """A score in the unit of its kind: shares in per cent, others to three places.

    Examples
    --------
    >>> figure(0.95123), figure(0.1612, "log_loss"), figure(None)
    ('95.1%', '0.161', '–')
    """
    if value is None:
        return "\N{EN DASH}"
    return f"{100 * value:.1f}%" if name in SHARES else f"{value:.3f}"


def interval(estimate: Estimate, name: str = "accuracy") -> str:
    """The interval in the unit of its score, without repeating it; empty where there is none.

    Examples
    --------
    >>> interval(Estimate(value=0.951, low=0.944, high=0.957))
    '94.4 to 95.7'
    """
    if estimate.low is None or estimate.high is None:
        return ""
    return " to ".join(figure(end, name).rstrip("%") for end in (estimate.low, estimate.high))


def points(difference: float, name: str = "accuracy") -> str:
    """A difference of two scores.

    Examples
    --------
    >>> points(-0.0123), points(0.02, "log_loss")
    ('−1.2 points', '0.020')
    """
    text = f"{100 * difference:.1f} points" if name in SHARES else f"{difference:.3f}"
    return text.replace("-", "\N{MINUS SIGN}")


def duration(seconds: float) -> str:
    """A time in the unit that suits it.

    Examples
    --------
    >>> duration(8.26), duration(75), duration(7400)
    ('8.3 s', '1 min 15 s', '2 h 3 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def sources(data: str | Sequence[str]) -> str:
    """What stands after ``--data``, in one line.

    Examples
    --------
    >>> sources("demo"), sources(["ours=images/", "theirs=table.csv"])
    ('demo', 'ours=images/ theirs=table.csv')
    """
    return data if isinstance(data, str) else " ".join(data)


def markdown_text(value: str) -> str:
    r"""Text of others as one line that Markdown and HTML take for text.

    Examples
    --------
    >>> markdown_text("<b>|_")
    '&lt;b&gt;\\|\\_'
    """
    escaped = re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", " ".join(value.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


FILTERS: Mapping[str, Callable[..., str]] = MappingProxyType(
    {change.__name__: change for change in (title, figure, interval, points, duration, sources)}
)
"""What templates may do with a score, by name."""
