"""What a backbone's name stands for: an architecture of timm, and what differs from its settings.

A name from the hub or a folder is resolved once, before anything is loaded; from then on it is
timm's own name, or that with what matters as JSON behind it. So whoever holds the name can build
the network, on any machine: workers, and a registered model.
"""

import json
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Self, cast

import timm
from timm.models import _hub
from torch import nn

from folds.errors import UserError, nearest, reason
from folds.model.hub import asking_hub

HUB, FOLDER = "hf-hub:", "local-dir:"
_CHANNELS = 3


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
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    args: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str) -> Self:
        """What a resolved name stands for; unlike `resolve` it looks nowhere."""
        plain, brace, rest = name.partition("{")
        # a tag that timm does not know still names a known architecture
        settings = _timms(plain) or _timms(plain.split(".")[0])
        other = json.loads(brace + rest) if brace else {}
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

    def create(self, size: int | None = None) -> nn.Module:
        """Make the network without weights of its own and without classifier.

        Parameters
        ----------
        size : int, optional
            Side of the input in pixels, where it is built for one; default: its own.
        """
        options = {**self.args, "pretrained": False, "num_classes": 0}
        if self.fixed:
            options["img_size"] = size or self.size
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # timm's notes on renamed models
            return cast(nn.Module, timm.create_model(self.name, **options))

    @property
    def fixed(self) -> bool:
        """Whether it is built for one size of input (vision transformers)."""
        return bool(_timms(self.name.split(".")[0]).get("fixed_input_size", False))


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
    return Architecture(
        own.name,
        tuple(map(float, settings.get("mean", own.mean))),
        tuple(map(float, settings.get("std", own.std))),
        int(settings.get("input_size", (own.size,))[-1]),
        args,
    )


def _timms(name: str) -> dict[str, Any]:
    """Timm's settings of a model, with its tag or the first of its tags; none of an unknown one."""
    try:
        known = timm.get_pretrained_cfg(name)
    except RuntimeError:  # the architecture has no such tag
        return {}
    return {} if known is None else dict(known.to_dict())
