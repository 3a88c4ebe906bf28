"""Search for the best configuration: ``python -m distributed.tune --space head --trials 20``.

Trials of a space of settings race over the same stratified folds: after each fold those that are
behind by more than noise stop. What the best one is worth is told without the luck of having been
chosen. All other flags are those of distributed.cv, and the same for all trials.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import folds.early  # noqa: F401  (first: what follows takes a second)
from distributed import command, cv, workspace
from distributed.search.options import Options, Sampler, read_space
from distributed.search.request import Request, among
from folds import cli
from folds.config import Config, recipes
from folds.errors import UserError

PROG = "python -m distributed.tune"


@dataclass
class Command:
    """What to search, and how."""

    space: str | None = None
    """The settings that are varied: a YAML file, or head, full or augment; see
    docs/how-to/search.md."""
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
    concurrent_trials: int = 2
    """Trials that may be under way at once, whatever the machine: a trial is proposed from and
    compared with those so many before it and earlier, so results depend on it."""
    outer_folds: int = 0
    """Search anew without each of so many parts of the images, and score its winner there."""
    time_budget: str | None = None
    """Begin nothing more after this time, such as 30m or 2h."""
    backbones: str | None = None
    """Instead of a space: rank these backbones (a,b,c or a file with one a line; NAME=WEIGHTS gives
    one its file) by a linear probe on frozen features, none of them trained."""
    finetune: int = 0
    """With --backbones: then search among so many of the best, trained as the other flags say."""
    train_best: bool = False
    """Go on with the best configuration: the main job, with everything it measures and
    registers."""
    config: str | None = None
    """YAML file of settings by flag name; flags given as well win."""
    recipe: str | None = None
    """Start from a recipe's settings, which --config and flags override; list: show them all."""
    resume: str | None = None
    """Go on with an interrupted search: its name, or without one the latest."""
    progress: cli.Progress = "auto"
    """What is seen while it works: auto, a live table on a terminal and lines elsewhere; plain,
    lines; json, a line of JSON an event on stdout for other programs, all else on stderr; off."""
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
    if space is not None:
        _check_own(argv, space.name)
    if asked.verbose:
        os.environ["CROSSFOLD_VERBOSE"] = "1"
    best = (
        _ranked(config, asked)
        if asked.backbones is not None
        else _searched(config, asked, space, defaults)
    )
    if asked.train_best and best is not None:
        cv.execute(best, cv.Command(progress=asked.progress, verbose=asked.verbose))


def _check_own(argv: Sequence[str], resumed: str) -> None:
    """Refuse flags of another search than the one that goes on."""
    given = {word.partition("=")[0] for word in argv}
    for field in fields(Options):
        flag = "--" + {"racing": "no_racing"}.get(field.name, field.name).replace("_", "-")
        if flag in given:
            raise UserError(
                f"{flag}: --resume {resumed} goes on with the search's own; leave it out"
            )


def _searched(
    config: Config, asked: Command, space: workspace.Workspace | None, defaults: Config
) -> Config:
    """Search a space; the best configuration."""
    if asked.finetune:
        raise UserError(f"--finetune {asked.finetune}: of which? name them with --backbones")
    if space is None:
        options = _options(config, asked)
    else:
        command.check_unchanged(config, defaults, space.name)
        options = Options(**workspace.read_options(space))
    resumed = None if space is None else space.name
    request = Request.checked(config, options, asked.time_budget, resumed)
    from distributed.search import begin

    with begin.session(config, asked.progress, verbose=asked.verbose) as session:
        return begin.search(session, request).best


def _ranked(config: Config, asked: Command) -> Config | None:
    """Rank backbones, and search among the best; the best configuration if there was a search."""
    for flag, given in (("--space", asked.space), ("--resume", asked.resume)):
        if given is not None:
            raise UserError(f"{flag} with --backbones: leave one of them out")
    if asked.finetune < 0 or asked.finetune == 1:
        raise UserError(f"--finetune {asked.finetune}: must be 2 or more, or 0 for none")
    if asked.train_best and not asked.finetune:
        raise UserError("--train-best with --backbones: needs --finetune 2 or more")
    from distributed.search import begin
    from distributed.search.backbones import read_backbones

    names = read_backbones(asked.backbones or "")
    with begin.session(config, asked.progress, verbose=asked.verbose) as session:
        ranked = begin.rank_backbones(session, names)
        if not asked.finetune:
            return None
        options = replace(
            _options(config, replace(asked, space="head")),
            space=among([one.name for one in ranked[: asked.finetune]]),
            trials=asked.finetune, sampler="grid",
            concurrent_trials=min(2, asked.concurrent_trials),
        )  # fmt: skip
        found = begin.search(session, Request.checked(config, options, asked.time_budget, None))
        if (words := begin.agreement(ranked, found.summary)) is not None:
            session.tell(words)
        return found.best


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


if __name__ == "__main__":
    cv.leave(cli.run(main))
