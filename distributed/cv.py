"""Cross-validate an image classifier: ``python -m distributed.cv --folds 5``.

Trains a timm backbone on k stratified folds spread over Ray workers, records every fold in MLflow
and registers the best model. Without flags it runs on rendered blood cells.
"""

import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import folds.early  # noqa: F401  (first: what follows takes a second)
from distributed import command, workspace
from folds import cli
from folds.config import Config, recipes
from folds.errors import UserError

if TYPE_CHECKING:
    from distributed.data.loader import Loader
    from distributed.planning.plan import Plan
    from folds.prepare import Prepared
    from tracking.recorder import Recorder
    from tracking.store import Store

BATCH_NORM = (
    "notice: with several workers a fold batch norm sees only its worker's part of a batch: "
    "scores will differ a little from those of one worker; --sync-bn lets it see the whole batch"
)
PROG = "python -m distributed.cv"


@dataclass
class Command:
    """What to do."""

    config: str | None = None
    """YAML file of settings by flag name; flags given as well win."""
    recipe: str | None = None
    """Start from a recipe's settings, which --config and flags override; list: show them all."""
    plan: bool = False
    """Print how the folds would be laid over the cluster, expected time and memory, and stop."""
    lr_find: bool = False
    """Try rising learning rates in each stage on the first fold, print the rates at which the loss
    falls fastest as --stages to train with, and stop."""
    resume: str | None = None
    """Go on with an interrupted run: its name, or without one the latest. Its settings are kept;
    only the cluster's and the tracker's may be given anew."""
    progress: cli.Progress = "auto"
    """What is seen while it works: auto, a live table on a terminal and lines elsewhere; plain,
    lines; json, a line of JSON an event on stdout for other programs, all else on stderr; off."""
    verbose: bool = False
    """Show what Ray and MLflow print (also -v)."""


def main() -> None:
    """Read the command line and run."""
    argv = command.expanded(sys.argv[1:])
    if command.value_of(argv, "--recipe") == "list":
        print(recipes.listing())
        return
    defaults, space = command.first_settings(argv, "run")
    config, options = cli.config_parser(
        defaults, Command, argv, prog=PROG, description=__doc__ or ""
    )
    resumed = None if space is None else space.name
    if resumed is not None:
        command.check_unchanged(config, defaults, resumed)
    execute(config, options, resumed)


def execute(config: Config, options: Command, resumed: str | None = None) -> None:
    """Check, plan and run; the heavy imports wait until the command line is known to be good."""
    if options.plan and options.lr_find:
        raise UserError("--lr-find: asked for with --plan; leave one of them out")
    if options.verbose:
        os.environ["CROSSFOLD_VERBOSE"] = "1"
    console = cli.Screen(options.progress, emoji=False)  # a colon is a colon
    uri, config = config.tracking.tracking_uri, config.without_passwords()
    start = time.perf_counter()
    from distributed import cluster

    address = cluster.address_of(config.cluster.address)
    notices = cluster.set_environment(address)
    from distributed import job
    from distributed.data.loader import Loader
    from distributed.health.examine import warn
    from distributed.outcome.files import check_output
    from distributed.run import Stopwatch, say
    from tracking.places import check_experiment
    from tracking.store import connect

    check_output(config.tracking.output)
    ray = cluster.Starter(address, verbose=options.verbose)
    if not options.plan and not options.lr_find:
        ray.begin()
    tell = partial(say, console)
    for notice in notices:
        tell(f"notice: {notice}")
    with closing(Loader(config.cluster, ray, tell)) as loader:
        prepared = _prepared(config, loader, tell)
        stopwatch = Stopwatch(start, {"images and weights": time.perf_counter() - start})
        if ray.address is not None:
            ray()
        if options.plan:
            job.show_plan(prepared, console)
            return
        if options.lr_find:
            _find_rates(prepared, tell)
            return
        if ray.address is not None:
            warn(tell)
        plan = _planned(prepared, tell)
        store = connect(uri)
        check_experiment(store, config.tracking.experiment)
        space = workspace.open_run(resumed, config, prepared.digests, prepared.problem.images)
        with workspace.hold(space):
            with stopwatch.phase("start"):
                workspace.begin(space, ray, resumed)
            recorder = _recorder(store, space, prepared)
            job.execute(prepared, plan, space, recorder, console, stopwatch)
    if ray.address is not None:
        cluster.stop()


def _prepared(config: Config, loader: "Loader", tell: Callable[[str], None]) -> "Prepared":
    """Load and check everything, and tell what it is."""
    from folds.prepare import prepare

    prepared = prepare(config, load=loader)
    for notice in prepared.notices:
        tell(f"notice: {notice}")
    images = prepared.problem.images
    tell(
        f"{len(images)} images of {len(images.class_names)} classes at {prepared.problem.size} px, "
        f"{config.model.backbone} from {prepared.weights} weights"
    )
    return prepared


def _find_rates(prepared: "Prepared", tell: Callable[[str], None]) -> None:
    """Test the learning rates of each stage in this process, and tell what came out."""
    from folds.runtime.device import Runtime
    from folds.training.lr_find import find_rates, table
    from folds.training.parts import check_parts

    problem, config = prepared.problem, prepared.problem.config
    check_parts(problem, 1)
    runtime = Runtime.choose(config.cluster.device, config.train.precision)
    tell(f"learning rates on the training part of {prepared.names[0]}, {runtime.describe()}")
    for line in table(find_rates(problem, *prepared.folds[0], runtime)):
        tell(line)


def _planned(prepared: "Prepared", tell: Callable[[str], None]) -> "Plan":
    """Lay the folds over what there is, and tell how."""
    from distributed import job

    plan = job.plan_for(prepared)
    tell(f"plan: {plan.describe()}")
    if plan.workers > 1 and prepared.batch_norm and not prepared.problem.config.cluster.sync_bn:
        tell(BATCH_NORM)
    return plan


def _recorder(store: "Store", space: workspace.Workspace, prepared: "Prepared") -> "Recorder":
    from tracking.recorder import Recorder

    classes = prepared.problem.images.class_names
    names = prepared.names[: prepared.first_of_curve]
    return Recorder(store, space.memory, class_names=classes, names=names)


def leave(status: int) -> None:
    """End the process at once, and with it what Ray had started for it.

    Lanes may still be waiting inside Ray, for their workers to be put away or, after Ctrl-C or a
    failure, for a fold; Ray cannot be shut down under them, and without them it takes seconds.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(cli.run(main))
