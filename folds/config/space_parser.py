"""Reading a search space, see `folds.config.spaces`, and refusing what is wrong in one line."""

import json
import math
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, get_args

import yaml

from folds.config import Config
from folds.config.spaces import Kind, Parameter, Space, Values, groups_of_settings, places
from folds.errors import UserError, nearest

KINDS: tuple[str, ...] = get_args(Kind)
# What all trials must have in common to be compared, or what no result depends on.
_FIXED = ("data", "split", "evaluation", "cluster", "tracking")
_FREE = ("image_size",)  # of these groups


def parse_space(content: Any, base: Config) -> Space:
    """Read a space and try the ends of all its parameters on a configuration.

    Parameters
    ----------
    content : object
        As YAML gives it.
    base : Config
        The settings that the space does not name.

    Raises
    ------
    UserError
        One line with the name, the value and the nearest right one.
    """
    if not isinstance(content, Mapping) or not content:
        raise UserError("--space: must be a mapping, such as head_dropout: {uniform: [0, 0.5]}")
    named = {str(name).replace("-", "_"): value for name, value in content.items()}
    drawn = {name: value for name, value in named.items() if isinstance(value, Mapping)}
    fixed = {name: value for name, value in named.items() if name not in drawn}
    parameters = _in_order([_parameter(name, value) for name, value in drawn.items()])
    _check_names(parameters, fixed)
    _check_places(parameters, fixed)
    space = Space(parameters, fixed, dict(named))
    for values in _trials(space):
        try:
            Config.from_flat(base.flat() | space.settings(values))
        except UserError as error:
            raise UserError(f"--space: {error}") from None
    return space


def _trials(space: Space) -> Iterator[Values]:
    """Values with each end of each parameter once, the others at their first."""
    for chosen in space.parameters:
        for end in chosen.ends:
            values: Values = {}
            for parameter in space.parameters:
                if parameter is chosen:
                    values[parameter.name] = end
                elif parameter.name in chosen.when:
                    values[parameter.name] = chosen.when[parameter.name][0]
                elif parameter.used(values):
                    values[parameter.name] = parameter.ends[0]
            yield values


def _parameter(name: str, given: Mapping[str, Any]) -> Parameter:
    kinds = [key for key in given if key != "when"]
    if len(kinds) != 1 or kinds[0] not in KINDS:
        wrong = next((str(key) for key in kinds if key not in KINDS), "")
        near = nearest(wrong, KINDS) if wrong else ""
        raise UserError(
            f"--space: {name}: {_short(given)}: must have one of {', '.join(KINDS)}{near}"
        )
    kind, value = kinds[0], given[kinds[0]]
    when = _when(name, given.get("when", {}))
    if not isinstance(value, list) or not value:
        raise UserError(f"--space: {name}: {kind}: {_short(value)}: must be a list of values")
    if kind == "choice":
        if len({yaml.safe_dump(one) for one in value}) < len(value):
            raise UserError(f"--space: {name}: choice: {_short(value)}: names a value twice")
        return Parameter(name, "choice", choices=tuple(value), when=when)
    low, high = _ends(name, kind, value)
    return Parameter(name, kind, low=low, high=high, when=when)  # type: ignore[arg-type]


def _ends(name: str, kind: str, value: list[Any]) -> tuple[float, float]:
    """Both ends of a range; YAML 1.1 reads 1e-5 as a text."""
    what = f"--space: {name}: {kind}: {_short(value)}"
    try:
        low, high = (float(end) for end in value)
    except (TypeError, ValueError):
        raise UserError(f"{what}: must be two numbers, such as [1, 8]") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"{what}: the first must be below the second")
    if kind == "loguniform" and low <= 0:
        raise UserError(f"{what}: must be above 0; use uniform")
    if kind == "int" and (low != int(low) or high != int(high)):
        raise UserError(f"{what}: must be whole numbers; use uniform")
    return low, high


def _when(name: str, given: Any) -> dict[str, tuple[Any, ...]]:
    if not isinstance(given, Mapping):
        raise UserError(
            f"--space: {name}: when: {_short(given)}: must be a mapping, as {{optimizer: sgd}}"
        )
    return {
        str(other).replace("-", "_"): tuple(value) if isinstance(value, list) else (value,)
        for other, value in given.items()
    }


def _in_order(parameters: list[Parameter]) -> tuple[Parameter, ...]:
    """Parameters with those first that others depend on, else as they were written."""
    by_name = {parameter.name: parameter for parameter in parameters}
    for parameter in parameters:
        for other, allowed in parameter.when.items():
            if other not in by_name:
                raise UserError(
                    f"--space: {parameter.name}: when: {other}: is no parameter of the space"
                    f"{nearest(other, by_name)}"
                )
            levels = by_name[other].levels
            wrong = [one for one in allowed if levels is not None and one not in levels]
            if wrong:
                known = [str(level) for level in levels or ()]
                raise UserError(
                    f"--space: {parameter.name}: when: {other}: {wrong[0]}: is no value of it"
                    f"{nearest(str(wrong[0]), known) or '; it has ' + ', '.join(known)}"
                )
    sorter = TopologicalSorter({p.name: tuple(p.when) for p in parameters})
    try:
        return tuple(by_name[name] for name in sorter.static_order())
    except CycleError as error:
        circle = ", ".join(error.args[1])
        raise UserError(f"--space: when: {circle}: depend on each other; cut the circle") from None


def _check_names(parameters: tuple[Parameter, ...], fixed: Mapping[str, Any]) -> None:
    """Each name is a setting that a search may vary, or stands in braces somewhere."""
    known, named = groups_of_settings(), places(dict(fixed))
    inner = [name for parameter in parameters for name in sorted(parameter.inner)]
    several = {parameter.name for parameter in parameters if parameter.inner}
    for name in [p.name for p in parameters if p.name not in several] + list(fixed) + inner:
        if name in known:
            if known[name] in _FIXED and name not in _FREE:
                raise UserError(
                    f"--space: {name}: all trials must have it in common; give it as a flag, "
                    f"--{name.replace('_', '-')}"
                )
        elif name in fixed or name not in named:
            braces = "" if name in fixed else f", and no setting holds {{{name}}}"
            raise UserError(f"--space: {name}: no such setting{braces}{nearest(name, known)}")


def _check_places(parameters: tuple[Parameter, ...], fixed: Mapping[str, Any]) -> None:
    always = {parameter.name: not parameter.when for parameter in parameters}
    for setting, part in fixed.items():
        for name in sorted(places(part)):
            if name not in always:
                raise UserError(
                    f"--space: {setting}: {{{name}}}: no parameter has this name"
                    f"{nearest(name, always)}"
                )
            if not always[name]:
                raise UserError(
                    f"--space: {setting}: {{{name}}}: has no value in trials without its `when`; "
                    "leave the `when` out"
                )


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
