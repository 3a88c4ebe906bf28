"""The beginning of a search: Ray, images and weights, the plan; then it runs."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from scipy.stats import spearmanr

from distributed import cluster, job, workspace
from distributed.data.loader import Loader
from distributed.health.examine import warn
from distributed.lanes.probing import settle
from distributed.outcome.files import check_output
from distributed.planning.plan import make_plan
from distributed.run import Stopwatch, notify, say
from distributed.search import job as search_job
from distributed.search.ranked import Ranked, print_ranking, write_ranking
from distributed.search.ranking import rank
from distributed.search.request import Request, joined, trial_settings
from distributed.search.run import Search, feature_budget, search_digests
from distributed.search.variants import prepared_variants
from folds import cli
from folds.config import Config
from folds.prepare import Prepared
from tracking.places import check_experiment
from tracking.search.recorder import SearchRecorder
from tracking.search.summary import SearchSummary
from tracking.store import connect

_FEWEST = 3  # backbones whose order can be compared


@dataclass(frozen=True)
class Session:
    """What a search and a ranking begin with.

    Parameters
    ----------
    config : Config
        The settings, without passwords.
    uri : str, optional
        Of MLflow, as the user gave it.
    console : Console
    ray : Starter
        Starts Ray, which may be on its way.
    load : Loader
        Brings in the images.
    began : float
        When, by `time.perf_counter`.
    """

    config: Config
    uri: str | None
    console: Console
    ray: cluster.Starter
    load: Loader
    began: float

    @property
    def tell(self) -> Callable[[str], None]:
        """Tells the user one line."""
        return partial(say, self.console)


@contextmanager
def session(config: Config, progress: cli.Progress, *, verbose: bool) -> Iterator[Session]:
    """Start Ray in the background, or find the cluster; in the end, leave it."""
    began, console = time.perf_counter(), cli.Screen(progress, emoji=False)  # a colon is a colon
    address = cluster.address_of(config.cluster.address)
    notices = cluster.set_environment(address)
    check_output(config.tracking.output)
    ray = cluster.Starter(address, verbose=verbose)
    ray.begin()
    for notice in notices:
        notify(console, notice)
    uri, public = config.tracking.tracking_uri, config.without_passwords()
    with closing(Loader(config.cluster, ray, partial(say, console))) as load:
        yield Session(public, uri, console, ray, load, began)
    if address is not None:
        cluster.stop()


@dataclass(frozen=True)
class Found:
    """What a search found: the best configuration, and all of it."""

    best: Config
    summary: SearchSummary


def search(session: Session, request: Request) -> Found:
    """Search, and tell what came out."""
    config, options = session.config, request.options
    trial_config = trial_settings(config, options.search_by)
    variants = prepared_variants(trial_config, request.variation, session.load, session.tell)
    prepared = next(iter(variants.values()))
    stopwatch = Stopwatch(session.began)
    stopwatch.seconds["images and weights"] = stopwatch.total
    store = connect(session.uri)
    check_experiment(store, config.tracking.experiment)
    at_once = min(options.concurrent_trials, options.trials)
    space = workspace.open_run(
        request.resumed,
        config,
        search_digests(variants),
        prepared.problem.images,
        search=asdict(options),
    )
    with workspace.hold(space):
        with stopwatch.phase("start"):
            workspace.begin(space, session.ray, request.resumed)
            warn(session.tell)
        plan = job.plan_for(prepared, trials=at_once)
        settled = settle(prepared, plan, space, partial(notify, session.console), at_once=True)
        plan = job.plan_for(prepared, settled.rates, trials=at_once)
        session.tell(_words(variants))
        session.tell(f"plan: {plan.describe_trials(options.trials)}")
        room = job.plan_for(prepared, settled.rates, trials=options.trials).lanes
        if room > at_once:
            session.tell(
                f"notice: there is room for {room} trials at a time: --concurrent-trials {room} "
                "takes it, stops fewer of them early, and proposes others"
            )
        recorder = SearchRecorder(store, space.memory)
        ended = search_job.execute(
            Search(
                config, trial_config, request.variation, options, variants, plan, settled.runtime,
                space, recorder, session.console, feature_budget(config), stopwatch,
            ),
            request.budget,
        )  # fmt: skip
    return Found(Config.from_flat(config.flat() | ended.summary.best), ended.summary)


def rank_backbones(session: Session, names: Sequence[str]) -> list[Ranked]:
    """Rank backbones, show them, and write ``backbones.json`` where there is an ``--output``."""
    session.ray()
    warn(session.tell)
    config = session.config
    resources = cluster.cluster_resources()
    plan = make_plan(
        resources, len(names), device=config.cluster.device, lanes=config.cluster.concurrent_folds
    )
    ranked = rank(config, names, session.load, session.tell, plan)
    print_ranking(session.console, ranked)
    if config.tracking.output is not None:
        write_ranking(Path(config.tracking.output) / "backbones.json", ranked)
    return ranked


def agreement(ranked: Sequence[Ranked], summary: SearchSummary) -> str | None:
    """Whether a probe and training rank backbones alike; None of fewer than three."""
    trained = {
        joined(trial.values["network"]): trial.mean
        for trial in summary.trials
        if trial.mean is not None
    }
    both = [(one.value, trained[one.name]) for one in ranked if one.name in trained]
    if len(both) < _FEWEST:
        return None
    rank = spearmanr(*zip(*both, strict=True)).statistic
    return f"probe     ranks the {len(both)} backbones as training does: Spearman {rank:.2f}"


def _words(variants: Mapping[str, Prepared]) -> str:
    """What is searched on, in one line."""
    prepared = next(iter(variants.values()))
    images = prepared.problem.images
    weights = ", ".join(dict.fromkeys(one.weights for one in variants.values()))
    return (
        f"{len(images)} images of {len(images.class_names)} classes in {len(prepared.folds)} "
        f"folds, weights {weights}"
    )
