"""What a search is asked for, beside the settings that all trials share."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from folds.documents import DocumentError, read_yaml
from folds.errors import UserError, nearest, reason

Sampler = Literal["tpe", "random", "grid", "cmaes"]
_TIME = re.compile(r"(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+)s?)?")


@dataclass(frozen=True)
class Options:
    """What is searched, and how.

    Parameters
    ----------
    space : mapping
        As `folds.config.spaces` has it.
    trials : int
        At most.
    sampler : {"tpe", "random", "grid", "cmaes"}
    search_by : str
        Expression of ``--select-by`` that trials are compared by.
    racing, asha : bool
        Whether trials that are behind stop, and whether already within their first fold.
    concurrent_trials : int
        See `distributed.search.race.Rules.ahead`.
    audit_stops : int
        Stopped trials that are finished anyway.
    outer_folds : int
        Searches within searches; 0: none.
    """

    space: Mapping[str, Any]
    trials: int
    sampler: Sampler
    search_by: str
    racing: bool = True
    asha: bool = False
    concurrent_trials: int = 2
    audit_stops: int = 0
    outer_folds: int = 0


def read_space(word: str) -> Any:
    """Read a space from a YAML file, or one of those that come with the project by its name.

    Raises
    ------
    UserError
        There is no such file or name, or it is not YAML.
    """
    own = {
        entry.name.removesuffix(".yaml"): entry
        for entry in files("recipes.spaces").iterdir()
        if entry.name.endswith(".yaml")
    }
    try:
        known = own.get(word)
        text = Path(word).read_text("utf-8") if known is None else known.read_text("utf-8")
    except OSError as error:
        near = nearest(word, own) or f"; there are {', '.join(sorted(own))}"
        raise UserError(f"--space {word}: {error.strerror}; give a YAML file{near}") from None
    except UnicodeDecodeError:
        raise UserError(f"--space {word}: is not text; give a YAML file") from None
    try:
        return read_yaml(text)
    except DocumentError as error:
        raise UserError(f"--space {word}: not YAML: {reason(error)}") from None


def seconds(text: str) -> float:
    """Read a time such as ``90``, ``30m`` or ``1h30m``.

    Raises
    ------
    UserError
        It is none, or nothing.
    """
    match = _TIME.fullmatch(text.strip())
    parts = (
        {unit: int(value) for unit, value in match.groupdict().items() if value} if match else {}
    )
    total = 3600 * parts.get("h", 0) + 60 * parts.get("m", 0) + parts.get("s", 0)
    if not total:
        raise UserError(f"--time-budget {text}: must be a time above 0, such as 90, 30m or 1h30m")
    return float(total)
