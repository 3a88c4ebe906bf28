"""The fields of a search space, and their values as people read them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tracking.search.summary import SearchSummary, TrialSummary

ABSENT = "\N{EN DASH}"
_LETTERS = 40  # of a value
_RANGES = ("uniform", "loguniform", "int")


@dataclass(frozen=True)
class Field:
    """One value that a search varied.

    Parameters
    ----------
    name : str
    levels : tuple of str
        Its values in the order of the space, where it is a choice; else empty.
    low, high : float
        Ends of its range, if it has no levels.
    log : bool
        Whether it was drawn uniformly on a logarithmic scale.
    whole : bool
        Whether its values are whole numbers.
    """

    name: str
    levels: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    whole: bool = False

    def of(self, trial: TrialSummary) -> str:
        """A trial's value in few letters; a dash where the field does not apply."""
        return text(trial.values[self.name]) if self.name in trial.values else ABSENT


def fields(summary: SearchSummary) -> list[Field]:
    """The fields of a search, the most important first, then as the space has them."""
    written = {name: part for name, part in summary.space.items() if isinstance(part, dict)}
    used = {name: None for trial in summary.trials for name in trial.values}
    names = dict.fromkeys([*summary.importance, *written, *used])
    return [
        _field(name, written.get(name, {}), summary.trials)
        for name in names
        if name in written or name in used
    ]


def _field(name: str, part: dict[str, Any], trials: Sequence[TrialSummary]) -> Field:
    values = [trial.values[name] for trial in trials if name in trial.values]
    if "choice" in part or not values or not all(map(is_number, values)):
        choices = part.get("choice", ())
        return Field(name, levels=tuple(dict.fromkeys(map(text, [*choices, *values]))))
    ends = [float(end) for kind in _RANGES for end in part.get(kind, ())]
    low, high = min(values + ends), max(values + ends)
    whole = all(isinstance(value, int) for value in values)
    return Field(name, (), low, high, "loguniform" in part and low > 0, whole)


def varying(fields: Sequence[Field], trials: Sequence[TrialSummary]) -> list[Field]:
    """Those of the fields that are not the same in all of these trials."""
    return [field for field in fields if len({field.of(trial) for trial in trials}) > 1]


def is_number(value: Any) -> bool:
    """Whether a value has a place on an axis of numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def text(value: Any) -> str:
    """A value in few letters; of several settings at once the first.

    Examples
    --------
    >>> text(0.000123456), text([512, 128]), text([]), text(True), text({"backbone": "a", "n": 1})
    ('0.000123', '512,128', 'none', 'true', 'a')
    """
    if isinstance(value, dict) and value:
        return text(next(iter(value.values())))
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list) and not any(isinstance(one, dict | list) for one in value):
        written = ",".join(map(text, value)) or "none"
    else:
        written = value if isinstance(value, str) else json.dumps(value, default=str)
    return written if len(written) <= _LETTERS else f"{written[: _LETTERS - 1]}…"


def values_text(values: dict[str, Any]) -> str:
    """All values of a trial in one line."""
    return ", ".join(f"{name} {text(value)}" for name, value in values.items())
