"""What ``--select-by`` may say: a score, or a weighted sum of several, by name."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from folds.config.corruptions import CORRUPTIONS
from folds.config.scores import SCORES, sign
from folds.errors import nearest

_WORST_SITE = ("worst_site.accuracy", "worst_site.macro_f1")
_SHIFT = ("accuracy", "macro_f1", "worst", *CORRUPTIONS)
_SLICED = ("worst_site.macro_f1", "slices.NAME.worst")
_TERM = re.compile(r"(?:(?P<weight>[0-9.eE+-]+)\s*\*\s*)?(?P<name>[A-Za-z][\w.-]*)")


@dataclass(frozen=True)
class SelectBy:
    """A weighted sum of scores.

    Parameters
    ----------
    terms : tuple of (float, str)
        Weight, above 0, and name: a score of the model's own validation part, ``shift.accuracy``,
        ``shift.macro_f1``, ``shift.worst`` or ``shift.CORRUPTION`` (macro-F1) under corruptions,
        ``external.NAME.SCORE``, or the lowest over the values of a column:
        ``worst_site.macro_f1``, ``worst_site.accuracy``, ``slices.NAME.worst`` (macro-F1).

    Notes
    -----
    Larger is better: what is a loss counts negative.
    """

    terms: tuple[tuple[float, str], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``macro_f1`` or ``0.5*macro_f1 + 0.5*shift.macro_f1``.

        Raises
        ------
        ValueError
            A name is unknown, or the text is no such sum.
        """
        return cls(tuple(_term(part.strip(), text) for part in re.split(r"(?<!\d[eE])\+", text)))

    def __str__(self) -> str:
        parts = (name if weight == 1 else f"{weight:g}*{name}" for weight, name in self.terms)
        return "+".join(parts)

    @property
    def names(self) -> tuple[str, ...]:
        """The scores that are asked for."""
        return tuple(name for _, name in self.terms)

    @property
    def externals(self) -> set[str]:
        """Names of the external image sets that are asked for."""
        return {name.split(".")[1] for name in self.names if name.startswith("external.")}

    @property
    def corruptions(self) -> tuple[str, ...]:
        """The corruptions that must be measured for it; all for a mean or the worst."""
        asked = {name.removeprefix("shift.") for name in self.names if name.startswith("shift.")}
        return tuple(name for name in CORRUPTIONS if name in asked or asked - set(CORRUPTIONS))

    @property
    def columns(self) -> set[str]:
        """The columns by whose values scores are asked for; ``site`` is one."""
        asked = {name.split(".")[1] for name in self.names if name.startswith("slices.")}
        return asked | {"site" for name in self.names if name in _WORST_SITE}

    @property
    def elsewhere(self) -> Self:
        """The part of the sum that is of external images."""
        return type(self)(tuple(term for term in self.terms if term[1].startswith("external.")))

    def value(self, scores: Mapping[str, float]) -> float:
        """The sum of these scores; minus infinity where one of them is not defined.

        Raises
        ------
        KeyError
            A score that is asked for is not among them.
        """
        total = sum(weight * sign(name) * scores[name] for weight, name in self.terms)
        return -math.inf if math.isnan(total) else total


def worst_names(column: str, accuracy: float, macro_f1: float) -> dict[str, float]:
    """The lowest scores over the values of a column, by the names that they have here."""
    found = {f"slices.{column}.worst": macro_f1}
    if column == "site":
        found |= dict(zip(_WORST_SITE, (accuracy, macro_f1), strict=True))
    return found


def check_select_by(text: str) -> str:
    """Give an expression back if it is one; see `SelectBy.parse`."""
    SelectBy.parse(text)
    return text


def _term(part: str, text: str) -> tuple[float, str]:
    match = _TERM.fullmatch(part)
    if match is None:
        raise ValueError(
            f"{text!r} is no sum of scores; write macro_f1, or 0.5*macro_f1+0.5*shift.macro_f1"
        )
    _check_name(name := match["name"])
    try:
        weight = float(match["weight"] or 1)
    except ValueError:
        raise ValueError(f"weight {match['weight']!r} is no number") from None
    if not 0 < weight < float("inf"):
        raise ValueError(
            f"weight {weight:g} of {name} must be above 0 (losses count negative by themselves)"
        )
    return weight, name


def _check_name(name: str) -> None:
    kind, _, rest = name.partition(".")
    shift_names = [f"shift.{score}" for score in _SHIFT]
    if kind == "shift" and rest:
        known, own = shift_names, name
    elif kind == "external" and rest.count(".") == 1:
        source, own = rest.split(".")
        own = f"external.{source}.{own}"
        known = [f"external.{source}.{score}" for score in SCORES]
    elif kind == "slices" and rest.count(".") == 1:
        known, own = [f"slices.{rest.split('.')[0]}.worst"], name
    else:
        known, own = [*SCORES, *shift_names, *_WORST_SITE], name
    if own not in known:
        some = ", ".join([*SCORES, "shift.macro_f1", "external.NAME.macro_f1", *_SLICED])
        raise ValueError(f"no score {name!r}{nearest(name, known) or f'; there are: {some}'}")
