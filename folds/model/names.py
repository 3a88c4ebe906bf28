"""What a backbone's name stands for: an architecture of timm, and what differs from its settings.

A name from the hub or a folder is resolved once, before anything is loaded; from then on it is
timm's own name, or that with what matters as JSON behind it. So whoever holds the name can build
the network, on any machine: workers, and a registered model.
"""

import inspect
import json
import re
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Self, cast

import timm
import torch
from timm.models import _hub
from torch import nn

from folds.documents import read_json
from folds.errors import UserError, nearest, reason
from folds.model.hub import asking_hub

HUB, FOLDER = "hf-hub:", "local-dir:"
_CHANNELS = 3
MOST_SIDE = 4096  # of an input, in pixels
_MOST_WIDTH, _MOST_BLOCKS = 65_536, 500
_MOST_PARAMETERS = 20 * 10**9  # of a network that timm's own names do not name
_DEPTH = re.compile("depth|layers$|blocks?$|repeat|per_stage")
_TIMMS_OWN = {*inspect.signature(timm.create_model).parameters, "in_chans", "out_indices"}


@dataclass(frozen=True)
class Architecture:
    """A network of timm, and how images reach it.

    Parameters
    ----------
    name : str
        Timm's, with or without a tag.
    mean, std : tuple of float
        Of each channel, of values in [0, 1].
    size : int
        Side of the input in pixels that it is made for.
    args : dict of str to Any
        For `timm.create_model`, beside the name.

    Raises
    ------
    ValueError
        A value is none that such a network has. Names come with other people's models, so an
        argument is refused that would have timm read a file or ask the hub, or build without end.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    args: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MOST_SIDE:
            raise ValueError(f"input of {self.size} pixels; at most {MOST_SIDE:,} a side")
        if not all(len(each) == _CHANNELS for each in (self.mean, self.std)) or 0 in self.std:
            raise ValueError(f"mean {self.mean} and std {self.std} are not of three channels")
        for name, value in self.args.items():
            if name in _TIMMS_OWN or name.startswith(("pretrained", "feature", "kwargs")):
                raise ValueError(f"argument {name!r} is not of the network's shape")
            _check_argument(name, value, _MOST_BLOCKS if _DEPTH.search(name) else _MOST_WIDTH)

    @classmethod
    def of(cls, name: str) -> Self:
        """What a resolved name stands for; unlike `resolve` it looks nowhere."""
        plain, brace, rest = name.partition("{")
        # a tag that timm does not know still names a known architecture
        settings = _timms(plain) or _timms(plain.split(".")[0])
        other = read_json(brace + rest) if brace else {}
        return cls(
            plain,
            tuple(other.get("mean", settings.get("mean", timm.data.IMAGENET_DEFAULT_MEAN))),
            tuple(other.get("std", settings.get("std", timm.data.IMAGENET_DEFAULT_STD))),
            int(other.get("size", settings.get("input_size", (224,))[-1])),
            other.get("args", {}),
        )

    @property
    def full_name(self) -> str:
        """The name that `of` reads: timm's alone where nothing differs from its settings."""
        own = type(self).of(self.name)
        if self == own:
            return self.name
        other = {"mean": self.mean, "std": self.std, "size": self.size, "args": self.args}
        return self.name + json.dumps(other, sort_keys=True)

    def create(self, size: int | None = None, **options: Any) -> nn.Module:
        """Make the network without weights of its own and without classifier.

        Parameters
        ----------
        size : int, optional
            Side of the input in pixels, where it is built for one; default: its own.
        **options
            Further arguments for `timm.create_model`.
        """
        options = {**self.args, **options, "pretrained": False, "num_classes": 0}
        if self.fixed:
            options["img_size"] = size or self.size
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # timm's notes on renamed models
            return cast(nn.Module, timm.create_model(self.name, **options))

    def parameters(self, size: int | None = None) -> int:
        """How many parameters it has, counted without making them."""
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in self.create(size).parameters())

    @property
    def fixed(self) -> bool:
        """Whether it is built for one size of input (vision transformers)."""
        return bool(_timms(self.name.split(".")[0]).get("fixed_input_size", False))


def _check_argument(name: str, value: Any, most: int) -> None:
    """Refuse what is no plain value, or so large that no network is built with it."""
    if isinstance(value, list | tuple):
        if len(value) > _MOST_BLOCKS:
            raise ValueError(f"argument {name!r} has {len(value):,} values")
        for inner in value:
            _check_argument(name, inner, most)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if not -most <= value <= most:
            raise ValueError(f"argument {name!r}: {value:g} is beyond {most:,}")
    elif not (value is None or isinstance(value, bool | str)):
        raise ValueError(f"argument {name!r}: {type(value).__name__} is no number, text or list")


def is_elsewhere(name: str) -> bool:
    """Whether a name is of the hub or a folder: ``hf-hub:ORG/MODEL`` or ``local-dir:FOLDER``."""
    return name.startswith((HUB, FOLDER))


def check_backbone(name: str) -> None:
    """Refuse a backbone that timm does not have, without looking at the hub or into a folder.

    Raises
    ------
    UserError
        Names the nearest models, or tags.
    """
    if is_elsewhere(name):
        return
    plain = name.partition("{")[0]
    model, _, tag = plain.partition(".")
    if not timm.is_model(model):
        near = nearest(name, timm.list_models()) or "; `timm.list_models()` lists them"
        raise UserError(f"--backbone {name}: timm has no such model{near}")
    if tag and not _timms(plain):
        near = nearest(plain, timm.list_models(f"{model}.*", include_tags=True))
        raise UserError(f"--backbone {name}: timm has no such weights{near}, or leave out .{tag}")
    try:
        Architecture.of(name)
    except (AttributeError, TypeError, ValueError):
        raise UserError(
            f"--backbone {name}: what follows {plain} is no JSON of settings; leave it out"
        ) from None


def resolve(name: str) -> str:
    """The name by which a backbone can be built anywhere.

    Parameters
    ----------
    name : str
        A timm model, ``hf-hub:ORG/MODEL`` or ``local-dir:FOLDER`` (with timm's ``config.json``),
        or what this gave before.

    Returns
    -------
    str
        Timm's name; behind it, as JSON, normalisation, size and arguments where they differ from
        timm's own settings.

    Raises
    ------
    UserError
        Timm does not have it, see `check_backbone`, or its configuration cannot be read.

    Notes
    -----
    - resolving twice is resolving once.
    """
    check_backbone(name)
    if not is_elsewhere(name):
        return name
    try:
        with asking_hub() if name.startswith(HUB) else nullcontext():
            return _described(name).full_name
    except UserError as error:
        raise UserError(f"--backbone {name}: {error}") from None
    except Exception as error:  # the hub's client raises dozens of types; a file may say anything
        raise UserError(
            f"--backbone {name}: its config.json cannot be read ({reason(error)}); give "
            "local-dir:FOLDER with the files of timm's save_for_hf, or a model of the hub"
        ) from None


def _described(name: str) -> Architecture:
    """What the configuration says that lies in a folder or on the hub."""
    source, _, place = name.partition(":")
    folder = source == "local-dir"
    read = _hub.load_model_config_from_path if folder else _hub.load_model_config_from_hf
    settings, plain, args = read(place)
    return _architecture(plain, settings, dict(args or {}))


def _architecture(plain: str, settings: dict[str, Any], args: dict[str, Any]) -> Architecture:
    if not timm.is_model(plain):
        raise UserError(f"timm has no {plain!r}, which its config.json names; raise timm's version")
    args.pop("num_classes", None)
    if args.pop("in_chans", _CHANNELS) != _CHANNELS:
        raise UserError("its images have other channels than red, green and blue; take another")
    tagged = f"{plain}.{settings.get('tag')}"
    own = Architecture.of(tagged if _timms(tagged) else plain)
    if own.fixed:
        args.pop("img_size", None)  # the run says which
    found = Architecture(
        own.name,
        tuple(map(float, settings.get("mean", own.mean))),
        tuple(map(float, settings.get("std", own.std))),
        int(settings.get("input_size", (own.size,))[-1]),
        args,
    )
    if args and (count := found.parameters()) > _MOST_PARAMETERS:
        raise UserError(f"it would have {count:.2g} parameters, more than {_MOST_PARAMETERS:.0g}")
    return found


def _timms(name: str) -> dict[str, Any]:
    """Timm's settings of a model, with its tag or the first of its tags; none of an unknown one."""
    try:
        known = timm.get_pretrained_cfg(name)
    except RuntimeError:  # the architecture has no such tag
        return {}
    return {} if known is None else dict(known.to_dict())
