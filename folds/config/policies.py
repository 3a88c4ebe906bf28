"""What ``--augment`` and ``--val-augment`` may say: operations, their strengths, named policies.

Only names and numbers, so that a command line can be judged before torch is loaded; what the
operations do is in `folds.augment`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from folds.documents import DocumentError, read_json, read_yaml
from folds.errors import nearest, reason


@dataclass(frozen=True)
class Limit:
    """A strength: what it is if nobody says, and between which values it lies."""

    default: float
    low: float
    high: float


@dataclass(frozen=True)
class Operation:
    """One operation, as far as a policy needs to know it.

    Parameters
    ----------
    kind : str
        When it acts, see `KINDS`.
    numbers : int
        Uniform numbers that it uses, beside the one that decides whether it acts. The first says
        how strongly.
    signed : bool
        Whether that first number goes both ways: no effect at 0.5 instead of at 0.
    limits : mapping of str to Limit
        Its strengths. ``max`` is what the first number reaches at most.
    """

    kind: str
    numbers: int = 0
    signed: bool = False
    limits: Mapping[str, Limit] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A line of a policy: an operation, its probability and its strengths."""

    op: str
    p: float
    strengths: Mapping[str, float]


# in the order in which they act on an image, whatever the order in the list
KINDS = ("geometry", "colour", "pointwise", "filter", "degrade", "mask", "chains", "mixing")


def _op(
    kind: str,
    numbers: int = 0,
    top: tuple[float, float] | None = None,
    *,
    signed: bool = False,
    **limits: tuple[float, float, float],
) -> Operation:
    """Shorten the table below; `top` is the default of ``max`` and the greatest allowed."""
    most = {} if top is None else {"max": Limit(top[0], 0.0, top[1])}
    others = {name: Limit(*limit) for name, limit in limits.items()}
    return Operation(kind, numbers, signed, MappingProxyType(most | others))


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "flip_horizontal": _op("geometry"),
        "flip_vertical": _op("geometry"),
        "quarter_turn": _op("geometry", 1),  # 0 to 3 of them
        "rotate": _op("geometry", 1, (30, 180), signed=True),  # degrees
        "shear_x": _op("geometry", 1, (10, 45), signed=True),  # degrees
        "shear_y": _op("geometry", 1, (10, 45), signed=True),
        "zoom": _op("geometry", 1, (0.1, 0.5), signed=True),  # factors 1 - max to 1 + max
        "scale": _op("geometry", 1, min=(0.5, 0.25, 1), max=(2.5, 1, 4)),  # factors
        "translate_x": _op("geometry", 1, (0.1, 0.5), signed=True),  # share of a side
        "translate_y": _op("geometry", 1, (0.1, 0.5), signed=True),
        "perspective": _op("geometry", 8, (0.2, 0.4)),  # a corner moves in by max of a half side
        "crop": _op("geometry", 4, (0.5, 0.9)),  # share of the area that is cut away
        "elastic": _op("geometry", 2, (0.05, 0.1)),  # displacement, share of a side
        "brightness": _op("colour", 1, (0.2, 0.9), signed=True),  # factors
        "contrast": _op("colour", 1, (0.2, 0.9), signed=True),
        "saturation": _op("colour", 1, (0.2, 1), signed=True),
        "hue": _op("colour", 1, (0.05, 0.5), signed=True),  # turns
        "grey": _op("colour", 1, (1, 1)),  # share of the grey image
        "channel_shuffle": _op("colour", 1),
        "stain": _op("colour", 9, (0.1, 0.3)),  # each entry of the colour matrix moves by max
        "white_balance": _op("colour", 3, (0.2, 1)),  # logarithms of the channels' factors
        "haze": _op("colour", 4, (0.4, 0.9)),  # share of one colour
        "posterize": _op("pointwise", 1, (4, 6)),  # bits taken away
        "solarize": _op("pointwise", 1, (0.5, 0.9)),  # levels above 1 - max are inverted
        "autocontrast": _op("pointwise"),
        "equalize": _op("pointwise"),
        "gamma": _op("pointwise", 3, (0.3, 1)),  # logarithms of the channels' exponents
        "vignette": _op("pointwise", 3, (0.4, 0.9)),  # light that is lost in the farthest corner
        "hed": _op("pointwise", 6, (0.1, 0.5)),  # of each stain: share, and optical density
        "random_reinhard": _op("pointwise", 6, (0.15, 0.5)),  # hundredths of Lab's units
        "sharpness": _op("filter", 1, (0.5, 3), signed=True),  # factors
        "blur": _op("filter", 1, (0.015, 0.03)),  # standard deviation, share of a side
        "motion_blur": _op("filter", 2, (0.1, 0.2)),  # length, share of a side
        "random_conv": _op("filter", 3, (1, 1)),  # share of the filtered image
        "jpeg": _op("degrade", 1, (70, 90)),  # quality that is lost, of 100
        "noise": _op("degrade", 2, (0.1, 0.3)),  # standard deviation, of the range 0 to 1
        "erase": _op("mask", 4, (0.2, 0.5)),  # share of the area
        "grid_mask": _op("mask", 4, (0.25, 0.5)),  # share of the area
        "rand_augment": _op("chains", n=(2, 1, 8), m=(9, 0, 30)),
        "trivial_augment": _op("chains"),
        "aug_mix": _op("chains", width=(3, 1, 8), depth=(3, 1, 4), m=(9, 0, 30)),
        "mixup": _op("mixing", 2, alpha=(0.4, 0.01, 10)),  # of the Beta distribution
        "cutmix": _op("mixing", 4, alpha=(1, 0.01, 10)),
        "fourier": _op("mixing", 2, (1, 1), band=(0.1, 0, 0.5)),  # share of the spectrum
        "colour_exchange": _op("mixing", 2, (1, 2)),  # of the way to the partner's colours
        "within_class": _op("mixing", 2, (0.5, 0.5)),  # weight of the partner
    }
)
WHOLE = ("n", "width", "depth")  # strengths that are counts
_Line = Mapping[str, Any]
_MIRRORS: tuple[_Line, ...] = (
    {"op": "flip_horizontal", "p": 0.5},
    {"op": "flip_vertical", "p": 0.5},
)
_TURNS: tuple[_Line, ...] = (*_MIRRORS, {"op": "quarter_turn"})
_LIGHT: tuple[_Line, ...] = (
    *_MIRRORS,
    {"op": "rotate", "max": 180},
    *({"op": name, "max": 5} for name in ("shear_x", "shear_y")),
    {"op": "zoom", "max": 0.1},
    *({"op": name, "max": 0.05} for name in ("translate_x", "translate_y")),
    *({"op": name, "max": 0.1} for name in ("brightness", "contrast", "saturation")),
    {"op": "hue", "max": 0.02},
)
_STRONG: tuple[_Line, ...] = (
    *_LIGHT,
    {"op": "elastic", "p": 0.1},
    {"op": "rand_augment", "p": 0.25},
    {"op": "brightness", "p": 0.25, "max": 0.4},
    {"op": "contrast", "p": 0.25, "max": 0.5},
    {"op": "saturation", "p": 0.2, "max": 0.6},
    {"op": "stain", "p": 0.2, "max": 0.15},
    {"op": "grey", "p": 0.15},
    {"op": "channel_shuffle", "p": 0.05},
    {"op": "sharpness", "p": 0.1, "max": 1},
    {"op": "blur", "p": 0.2, "max": 0.015},
    {"op": "motion_blur", "p": 0.1, "max": 0.08},
    {"op": "jpeg", "p": 0.1},
    {"op": "noise", "p": 0.2, "max": 0.12},
    {"op": "erase", "p": 0.1, "max": 0.15},
    {"op": "grid_mask", "p": 0.05, "max": 0.2},
    {"op": "cutmix", "p": 0.1},
    {"op": "mixup", "p": 0.1, "alpha": 0.2},
    {"op": "fourier", "p": 0.1},
)
PRESETS: Mapping[str, tuple[_Line, ...]] = MappingProxyType(
    {
        "none": (),
        "light": _LIGHT,
        "rand": (*_TURNS, {"op": "rand_augment"}),
        "trivial": (*_TURNS, {"op": "trivial_augment"}),
        "augmix": (*_TURNS, {"op": "aug_mix"}),
        "strong": _STRONG,
    }
)


_KINDS = "must be a policy, a .yaml file or a list of operations"


def canonical(policy: Any) -> str:
    """Check a policy and write it so that it needs no file any more.

    Parameters
    ----------
    policy : str or list of mappings
        Names joined by ``+`` (``light+cutmix``), a ``.yaml`` file, or a list of operations
        (``[{op: rotate, p: 0.5, max: 30}]``), in YAML or as YAML has read it. A name is a preset
        or an operation; ``op`` may be a preset too, then without more.

    Returns
    -------
    str
        The names, or the list as JSON.

    Raises
    ------
    ValueError
        One line that says what is wrong and what would be right.
    """
    if isinstance(policy, str) and Path(policy).suffix in (".yaml", ".yml"):
        policy = _read(policy)
    elif isinstance(policy, str) and policy.lstrip().startswith("["):
        policy = _loaded(policy, "the list")
    if isinstance(policy, str):
        entries(policy.strip())
        return policy.strip()
    if not isinstance(policy, list | tuple):
        raise ValueError(_KINDS)
    for line in policy:
        _expand(line)  # before they are sorted: keys of several kinds have no order
    return json.dumps(policy, sort_keys=True)


def entries(text: str) -> tuple[Entry, ...]:
    """Lines of a policy that `canonical` wrote, presets replaced by what they consist of."""
    if text.startswith("["):
        return tuple(entry for line in json.loads(text) for entry in _expand(line))
    if not text or text[0] in '{"' or text == "null":
        raise ValueError(_KINDS)
    return tuple(entry for name in text.split("+") for entry in _expand({"op": name.strip()}))


def _read(path: str) -> Any:
    try:
        return _loaded(Path(path).read_text(encoding="utf-8"), "the file")
    except OSError as error:
        raise ValueError(f"{error.strerror}; give a YAML file with a list of operations") from None
    except UnicodeDecodeError:
        raise ValueError("the file is not text; give a YAML file") from None


def _loaded(text: str, what: str) -> list[Any]:
    try:
        policy = read_json(text)  # not YAML's reading of it: to YAML 1.1, 1e-05 is a text
    except ValueError:
        policy = _from_yaml(text, what)
    if not isinstance(policy, list):
        raise ValueError(f"{what} must be a list of operations, such as [{{op: rotate, max: 30}}]")
    return policy


def _from_yaml(text: str, what: str) -> Any:
    try:
        return read_yaml(text)
    except DocumentError as error:
        raise ValueError(f"{what} is not YAML: {reason(error)}") from None


def _expand(line: Any) -> Iterable[Entry]:
    if not isinstance(line, Mapping) or not isinstance(line.get("op"), str):
        raise ValueError(f"{line!r} is no operation; write one such as {{op: rotate, max: 30}}")
    name = line["op"]
    if name not in PRESETS:
        return [_entry(line)]
    if len(line) > 1:
        raise ValueError(f"{name} is a policy and takes no {next(k for k in line if k != 'op')!r}")
    return [_entry(part) for part in PRESETS[name]]


def _entry(line: Mapping[str, Any]) -> Entry:
    name = line["op"]
    if name not in OPERATIONS:
        known = (*PRESETS, *OPERATIONS)
        raise ValueError(
            f"no policy or operation {name!r}{nearest(name, known) or '; such as: light, rotate'}"
        )
    limits = {"p": Limit(1.0, 0.0, 1.0), **OPERATIONS[name].limits}
    for key in line:
        if key != "op" and key not in limits:
            raise ValueError(f"{name} has no {key!r}, but {', '.join(limits)}")
    values = {key: _value(name, key, line.get(key, limits[key].default), limits) for key in limits}
    return Entry(name, values.pop("p"), MappingProxyType(values))


def _value(name: str, key: str, value: Any, limits: Mapping[str, Limit]) -> float:
    limit = limits[key]
    whole = key in WHOLE
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name}: {key} {value!r} is no number")
    if not limit.low <= value <= limit.high or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        raise ValueError(
            f"{name}: {key} {value!r} must be {kind} from {limit.low:g} to {limit.high:g}"
        )
    return float(value)
