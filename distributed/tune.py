"""Search for the best configuration: ``python -m distributed.tune --space head --trials 20``.

Trials of a space of settings race over the same stratified folds: after each fold those that are
behind by more than noise stop. What the best one is worth is told without the luck of having been
chosen. All other flags are those of distributed.cv, and the same for all trials.
"""

import os
import sys
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from distributed import command, cv, workspace
from distributed.search.options import Options, Sampler, read_space, seconds
from folds import cli
from folds.config import Config, recipes
from folds.config.selection import SelectBy
from folds.config.space_parser import parse_space
from folds.config.spaces import Space
from folds.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from folds.prepare import Prepared

PROG = "python -m distributed.tune"
_MOST = 10_000  # trials


@dataclass
class Command:
    """What to search, and how."""

    space: str | None = None
    """The settings that are varied: a YAML file, or head, full or augment; see the README."""
    trials: int = 20
    """Configurations to try, at most."""
    sampler: Sampler = "tpe"
    """What proposes them: Optuna's tree of Parzen estimators, chance, all combinations, CMA-ES."""
    search_by: str | None = None
    """What they are compared by, as --select-by; default: that."""
    no_racing: bool = False
    """Give every trial all folds."""
    asha: bool = False
    """Also end a trial within its first fold where, after 1, 3, 9, ... epochs, it is not among the
    best third."""
    audit_stops: int = 0
    """Finish so many of the stopped trials anyway, and tell what stopping them cost."""
    concurrent_trials: int = 4
    """Trials that may be under way at once, whatever the machine: a trial is proposed from and
    compared with those so many before it and earlier, so results depend on it."""
    outer_folds: int = 0
    """Search anew without each of so many parts of the images, and score its winner there."""
    time_budget: str | None = None
    """Begin nothing more after this time, such as 30m or 2h."""
    train_best: bool = False
    """Go on with the best configuration: the main job, with everything it measures and
    registers."""
    config: str | None = None
    """YAML file of settings by flag name; flags given as well win."""
    recipe: str | None = None
    """Start from a recipe's settings, which --config and flags override; list: show them all."""
    resume: str | None = None
    """Go on with an interrupted search: its name, or without one the latest."""
    verbose: bool = False
    """Show what Ray and MLflow print (also -v)."""


def main() -> None:
    """Read the command line and search."""
    argv = command.expanded(sys.argv[1:])
    if command.value_of(argv, "--recipe") == "list":
        print(recipes.listing())
        return
    defaults, space = command.first_settings(argv, "search")
    config, asked = cli.config_parser(defaults, Command, argv, prog=PROG, description=__doc__ or "")
    budget = None if asked.time_budget is None else seconds(asked.time_budget)
    if space is None:
        options = _options(config, asked)
    else:
        command.check_unchanged(config, defaults, space.name)
        options = Options(**workspace.read_options(space))
    variation = parse_space(options.space, config)
    _check(config, options, budget)
    if options.sampler == "grid":
        variation.grid()  # refuses ranges
    best = execute(config, options, variation, asked, budget, None if space is None else space.name)
    if asked.train_best and best is not None:
        cv.execute(best, cv.Command(verbose=asked.verbose))


def _options(config: Config, asked: Command) -> Options:
    if asked.space is None:
        raise UserError("--space: what shall be varied? give a YAML file, or head, full or augment")
    return Options(
        space=read_space(asked.space),
        trials=asked.trials,
        sampler=asked.sampler,
        search_by=asked.search_by or config.evaluation.select_by,
        racing=not asked.no_racing,
        asha=asked.asha,
        concurrent_trials=asked.concurrent_trials,
        audit_stops=asked.audit_stops,
        outer_folds=asked.outer_folds,
    )


def _check(config: Config, options: Options, budget: float | None) -> None:
    """Refuse what cannot be searched."""
    for name, least in (("trials", 1), ("concurrent_trials", 1), ("audit_stops", 0)):
        value = getattr(options, name)
        if not least <= value <= _MOST:
            raise UserError(f"--{name.replace('_', '-')} {value}: must be from {least} to {_MOST}")
    try:
        select = SelectBy.parse(options.search_by)
    except ValueError as error:
        raise UserError(f"--search-by {options.search_by}: {error}") from None
    if options.asha and config.cluster.workers_per_fold not in ("auto", 1):
        raise UserError(
            f"--asha with --workers-per-fold {config.cluster.workers_per_fold}: the workers of a "
            "fold end together; leave one of them out"
        )
    outer = options.outer_folds
    if not outer:
        return
    if outer < 2:
        raise UserError(f"--outer-folds {outer}: must be 2 or more, or 0 for none")
    for flag, given in (
        ("--holdout", config.split.holdout),
        ("--splits", config.split.splits),
        ("--time-budget", budget),
    ):
        if given:
            raise UserError(f"--outer-folds {outer} with {flag}: leave one of them out")
    if other := [name for name in select.names if "." in name]:
        raise UserError(
            f"--outer-folds {outer}: {other[0]} is not measured on outer folds; leave them out, or "
            "--search-by macro_f1"
        )


def execute(
    config: Config,
    options: Options,
    variation: Space,
    asked: Command,
    budget: float | None,
    resumed: str | None,
) -> Config | None:
    """Search; the best configuration, if there is one.

    The heavy imports wait until the command line is known to be good.
    """
    if asked.verbose:
        os.environ["CROSSFOLD_VERBOSE"] = "1"
    console = cli.Screen(emoji=False)  # a colon is a colon
    uri, config = config.tracking.tracking_uri, config.without_passwords()
    start = time.perf_counter()
    from distributed import cluster

    address = cluster.address_of(config.cluster.address)
    notices = cluster.set_environment(address)
    from distributed import job
    from distributed.data.loader import Loader
    from distributed.lanes.probing import settle
    from distributed.outcome.files import check_output
    from distributed.run import Stopwatch, notify, say
    from distributed.search import job as search_job
    from distributed.search.run import Search, feature_budget, search_digests, trial_settings
    from distributed.search.variants import prepared_variants
    from tracking.places import check_experiment
    from tracking.search.recorder import SearchRecorder
    from tracking.store import connect

    check_output(config.tracking.output)
    trial_config = trial_settings(config, options.search_by)
    ray = cluster.Starter(address, verbose=asked.verbose)
    ray.begin()
    tell = partial(say, console)
    for notice in notices:
        tell(f"notice: {notice}")
    with closing(Loader(config.cluster, ray, tell)) as loader:
        variants = prepared_variants(trial_config, variation, loader, tell)
        prepared = next(iter(variants.values()))
        stopwatch = Stopwatch(start, {"images and weights": time.perf_counter() - start})
        store = connect(uri)
        check_experiment(store, config.tracking.experiment)
        at_once = min(options.concurrent_trials, options.trials)
        space = workspace.open_run(
            resumed, config, search_digests(variants), search=asdict(options)
        )
        with workspace.hold(space):
            with stopwatch.phase("start"):
                cv.begin(ray, space, resumed)
            plan = job.plan_for(prepared, trials=at_once)
            settled = settle(prepared, plan, space, partial(notify, console), at_once=True)
            plan = job.plan_for(prepared, settled.rates, trials=at_once)
            tell(_words(prepared, variants))
            tell(f"plan: {plan.describe_trials(options.trials)}")
            search = Search(
                config, trial_config, variation, options, variants, plan, settled.runtime, space,
                SearchRecorder(store, space.folder / "mlflow.json"), console,
                feature_budget(config), stopwatch,
            )  # fmt: skip
            ended = search_job.execute(search, budget)
    if ray.address is not None:
        cluster.stop()
    return Config.from_flat(config.flat() | ended.summary.best)


def _words(prepared: "Prepared", variants: "Mapping[str, Prepared]") -> str:
    """What is searched on, in one line."""
    images = prepared.problem.images
    weights = ", ".join(dict.fromkeys(one.weights for one in variants.values()))
    return (
        f"{len(images)} images of {len(images.class_names)} classes in {len(prepared.folds)} "
        f"folds, weights {weights}"
    )


if __name__ == "__main__":
    cv.leave(cli.run(main))
