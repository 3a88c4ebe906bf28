"""How a run came about: the command that does it again, and what it was computed on."""

import shlex
from collections.abc import Mapping
from typing import Any

import torch

from folds.config import Config
from folds.runtime.device import Runtime
from tracking.summary import Summary


def reproduce(settings: Mapping[str, Any]) -> str:
    """The command that does a run again, with the settings that are not the defaults.

    Parameters
    ----------
    settings : mapping of str to object
        All of them by flag name, as `Config.flat` and a summary's ``config`` have them.
    """
    defaults, words = Config().flat(), ["python", "-m", "distributed.cv"]
    for name, value in settings.items():
        if value != defaults[name] and value is not None:
            words += _flag(f"--{name.replace('_', '-')}", value)
    return shlex.join(words)


def _flag(flag: str, value: Any) -> list[str]:
    """Words that the command line reads back as this value."""
    if value is True:
        return [flag]
    if flag == "--external":
        return [word for source in value for word in (flag, source)]
    if flag == "--head-layers":
        value = ",".join(map(str, value))
    if isinstance(value, dict):
        value = ",".join(f"{key}={number}" for key, number in value.items())
    if isinstance(value, list):
        return [flag, *map(str, value)]
    # A value that begins with a dash would be taken for a flag if it were a word of its own.
    return [f"{flag}={value}"] if str(value).startswith("-") else [flag, str(value)]


def computed_on(summary: Summary) -> dict[str, str]:
    """Lanes, arithmetic, system and interpreter of a run, by their names on a page."""
    own = summary.runtime
    runtime = Runtime(torch.device(own.device), own.precision, own.channels_last, own.compiled)
    rows = {"plan": summary.plan, "runtime": runtime.describe()}
    if summary.software is not None:
        rows |= {"driver": summary.software.system, "python": summary.software.python}
    return rows
