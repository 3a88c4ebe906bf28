"""What ``--space`` may say: which settings a search varies, and between which values.

A space is a YAML mapping of settings by flag name::

    optimizer: {choice: [adamw, sgd]}
    head_dropout: {uniform: [0, 0.6]}
    weight_decay: {loguniform: [1e-5, 1e-1]}
    ema: {choice: [0, 0.99], when: {optimizer: adamw}}
    epochs: {int: [2, 8]}
    rate: {loguniform: [3e-4, 1e-2]}
    stages: ["0:{epochs}:{rate}"]

``when`` says of which values of others a parameter is used. A name that is no setting, such as
``rate``, stands in braces where its value goes, or is a choice between mappings of settings, as
``network: {choice: [{backbone: a, image_size: 96}, {backbone: b}]}``. What is no parameter is a
fixed value.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from folds.config import groups
from folds.errors import UserError

Kind = Literal["choice", "uniform", "loguniform", "int"]
Values = dict[str, Any]
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Parameter:
    """One value that a search varies.

    Parameters
    ----------
    name : str
        A setting, or what stands in braces.
    kind : {"choice", "uniform", "loguniform", "int"}
    choices : tuple
        Of a choice.
    low, high : float
        Ends of the others, both included.
    when : mapping of str to tuple
        Values of other parameters with which it is used; all must hold.
    """

    name: str
    kind: Kind
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def used(self, values: Values) -> bool:
        """Whether it is used beside these values of the parameters before it."""
        return all(other in values and values[other] in self.when[other] for other in self.when)

    @property
    def inner(self) -> set[str]:
        """Settings that its values are mappings of."""
        each = (value for value in self.choices if isinstance(value, Mapping))
        return {str(name) for value in each for name in value}

    @property
    def levels(self) -> Sequence[Any] | None:
        """All values, where they can be counted."""
        if self.kind == "choice":
            return self.choices
        return range(int(self.low), int(self.high) + 1) if self.kind == "int" else None

    @property
    def ends(self) -> Sequence[Any]:
        """The values that show whether all are allowed."""
        whole = self.kind == "int"
        ends = (int(self.low), int(self.high)) if whole else (self.low, self.high)
        return self.choices if self.kind == "choice" else ends


@dataclass(frozen=True)
class Space:
    """Parameters, and the settings that are made of their values.

    Parameters
    ----------
    parameters : tuple of Parameter
        Those that others depend on come first.
    fixed : mapping
        Settings by name whose value is fixed, or holds names of parameters in braces.
    written : mapping
        As the user wrote it.

    Notes
    -----
    - Every combination that `grid` gives, and every draw, has a value for each name in braces.
    """

    parameters: tuple[Parameter, ...]
    fixed: Mapping[str, Any]
    written: Mapping[str, Any]

    def settings(self, values: Values) -> dict[str, Any]:
        """The settings by flag name that values of the parameters stand for."""
        known = groups_of_settings()
        own = {name: value for name, value in values.items() if name in known}
        for name, value in values.items():
            own |= dict(value) if name not in known and isinstance(value, Mapping) else {}
        return own | {name: _filled(part, values) for name, part in self.fixed.items()}

    def grid(self, only: set[str] | None = None) -> list[Values]:
        """All combinations of values, those of a few parameters if they are named.

        Raises
        ------
        UserError
            The values of a parameter cannot be counted.
        """
        combinations: list[Values] = [{}]
        for parameter in self.parameters:
            if only is not None and parameter.name not in only:
                continue
            levels = parameter.levels
            if levels is None:
                raise UserError(
                    f"{parameter.name} {{{parameter.kind}: ...}}: has no end of values; a grid "
                    "takes choice or int"
                )
            combinations = [
                values | own
                for values in combinations
                for own in (
                    [{parameter.name: level} for level in levels]
                    if parameter.used(values)
                    else [{}]
                )
            ]
        return combinations

    def makers(self, settings: set[str]) -> set[str]:
        """Names of the parameters that some settings depend on, with those that decide of them."""
        names = {p.name for p in self.parameters if settings & {p.name, *p.inner}}
        for name in settings & self.fixed.keys():
            names |= places(self.fixed[name])
        for parameter in reversed(self.parameters):
            if parameter.name in names:
                names |= set(parameter.when)
        return names


def groups_of_settings() -> dict[str, str]:
    """The group of each setting, by their names."""
    return {name: group for group, model in groups().items() for name in model.model_fields}


def _filled(part: Any, values: Values) -> Any:
    """A fixed part with the values of parameters in place of their names in braces."""
    if isinstance(part, list):
        return [_filled(one, values) for one in part]
    if isinstance(part, Mapping):
        return {key: _filled(one, values) for key, one in part.items()}
    if not isinstance(part, str):
        return part
    if (whole := _PLACE.fullmatch(part)) is not None:
        return values[whole[1]]
    return _PLACE.sub(lambda match: _text(values[match[1]]), part)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def places(part: Any) -> set[str]:
    """Names that stand in braces in a fixed part."""
    return set(_PLACE.findall(json.dumps(part, default=str)))
