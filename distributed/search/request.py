"""A search that has been asked for, checked as far as the command line tells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from distributed.search.options import Options, seconds
from folds.config import Config
from folds.config.selection import SelectBy
from folds.config.space_parser import parse_space
from folds.config.spaces import Space
from folds.errors import UserError

_MOST = 10_000  # trials


@dataclass(frozen=True)
class Request:
    """What a search shall do.

    Parameters
    ----------
    config : Config
        The settings as the user gave them.
    options : Options
    variation : Space
        Of `options`.
    budget : float, optional
        Seconds.
    resumed : str, optional
        Name of the search to go on with.
    """

    config: Config
    options: Options
    variation: Space
    budget: float | None
    resumed: str | None

    @classmethod
    def checked(
        cls, config: Config, options: Options, time_budget: str | None, resumed: str | None
    ) -> Self:
        """Check what can be checked without images and libraries.

        Raises
        ------
        UserError
            Something cannot be searched.
        """
        budget = None if time_budget is None else seconds(time_budget)
        _check_counts(options)
        trial_settings(config, options.search_by)
        variation = parse_space(options.space, config)
        if options.sampler == "grid":
            variation.grid()  # refuses ranges
        workers = config.cluster.workers_per_fold
        if options.asha and workers not in ("auto", 1):
            raise UserError(
                f"--asha with --workers-per-fold {workers}: the workers of a fold end together; "
                "leave one of them out"
            )
        if options.outer_folds:
            _check_nested(config, options, budget)
        return cls(config, options, variation, budget, resumed)


def trial_settings(config: Config, search_by: str) -> Config:
    """The settings of all trials: scored on what they are compared by, and on nothing more.

    Raises
    ------
    UserError
        It is no such expression, or asks for images that are not given.
    """
    try:
        select = SelectBy.parse(search_by)
    except ValueError as error:
        raise UserError(f"--search-by {search_by}: {error}") from None
    shift = config.evaluation.shift if select.corruptions else "off"
    return Config.from_flat(config.flat() | {"select_by": search_by, "shift": shift})


def among(backbones: Sequence[str]) -> Mapping[str, Any]:
    """The space of a few backbones, each with its weights where they were named."""
    pairs = [name.partition("=") for name in backbones]
    networks = [{"backbone": n} | ({"weights": w} if w else {}) for n, _, w in pairs]
    return {"network": {"choice": networks}}


def joined(network: Mapping[str, Any]) -> str:
    """A backbone of `among` as it was named."""
    weights = network.get("weights")
    return network["backbone"] + (f"={weights}" if weights else "")


def _check_counts(options: Options) -> None:
    for name, least in (("trials", 1), ("concurrent_trials", 1), ("audit_stops", 0)):
        value = getattr(options, name)
        if not least <= value <= _MOST:
            raise UserError(f"--{name.replace('_', '-')} {value}: must be from {least} to {_MOST}")
    if options.outer_folds < 0 or options.outer_folds == 1:
        raise UserError(f"--outer-folds {options.outer_folds}: must be 2 or more, or 0 for none")


def _check_nested(config: Config, options: Options, budget: float | None) -> None:
    outer = options.outer_folds
    for flag, given in (
        ("--holdout", config.split.holdout),
        ("--splits", config.split.splits),
        ("--time-budget", budget),
    ):
        if given:
            raise UserError(f"--outer-folds {outer} with {flag}: leave one of them out")
    names = SelectBy.parse(options.search_by).names
    if other := [name for name in names if "." in name]:
        raise UserError(
            f"--outer-folds {outer}: {other[0]} is not measured on outer folds; leave them out, or "
            "--search-by macro_f1"
        )
