"""A search that has been checked and planned, and what it works with."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from rich.console import Console

from distributed.planning.plan import Plan
from distributed.run import Stopwatch, notify
from distributed.search.display import Display
from distributed.search.engine import Engine
from distributed.search.options import Options
from distributed.search.proposals import Proposer
from distributed.search.race import Rules
from distributed.search.team import Team
from distributed.search.trainable import Shared
from distributed.search.trials import Trial, Trials
from distributed.search.variants import put
from distributed.workspace import Workspace
from folds.config import Config
from folds.config.selection import SelectBy
from folds.config.spaces import Space
from folds.files import cache_folder, check_folder
from folds.prepare import Prepared
from folds.runtime.device import Runtime
from folds.splits.manifest import SplitManifest
from tracking.search.recorder import SearchRecorder

SHARE, MOST = 0.2, 20 * 10**9  # of the free disk, bytes: of frozen features


@dataclass(frozen=True)
class Search:
    """What the parts of a search share.

    Parameters
    ----------
    asked : Config
        The settings as the user gave them.
    config : Config
        Those of every trial that the space does not name, see `trial_settings`.
    variation : Space
    options : Options
    variants : mapping of str to Prepared
        By `distributed.search.variants.key`.
    plan : Plan
        Trials at a time, and what each takes.
    runtime : Runtime
    space : Workspace
        The search's folder.
    recorder : SearchRecorder
    console : Console
    budget : int
        Bytes of frozen features on each machine.
    stopwatch : Stopwatch
    """

    asked: Config
    config: Config
    variation: Space
    options: Options
    variants: Mapping[str, Prepared]
    plan: Plan
    runtime: Runtime
    space: Workspace
    recorder: SearchRecorder
    console: Console
    budget: int
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    @cached_property
    def select(self) -> SelectBy:
        """What trials are compared by."""
        return SelectBy.parse(self.options.search_by)

    @property
    def prepared(self) -> Prepared:
        """Images and folds, which are the same for all."""
        return next(iter(self.variants.values()))

    @property
    def fold_names(self) -> list[str]:
        """Names of the folds, in the order in which trials train them."""
        return self.prepared.names[: len(self.prepared.folds)]

    @property
    def digests(self) -> dict[str, str]:
        """See `search_digests`."""
        return search_digests(self.variants)

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user was told of images and weights."""
        every = [notice for one in self.variants.values() for notice in one.notices]
        return tuple(dict.fromkeys(every))

    def trials(self, name: str) -> Trials:
        """The trials of one search, whose folder in the search's own has this name."""
        trials = Trials(self.space.folder / name, len(self.prepared.folds), self.select)
        for line in trials.damaged:
            self.notify(line)
        return trials

    def proposer(self) -> Proposer:
        """What proposes configurations, at its beginning."""
        options, seed = self.options, self.config.split.seed
        return Proposer(self.variation, options.sampler, options.trials, seed)

    def engine(self, tell: Callable[[Trial], None], splits: SplitManifest | None = None) -> Engine:
        """What runs trials; with `splits` on images that are divided otherwise."""
        plan, options = self.plan, self.options
        each, runtime = plan.resources_per_worker, self.runtime
        alone = plan.workers == 1
        team = None if alone else Team(plan.workers, each, plan.threads, runtime, self.budget)
        variants = put(self.variants, splits)
        shared = Shared(variants, self.prepared.folds, runtime, plan.threads, self.budget, team)
        rules = Rules(options.concurrent_trials, options.racing)
        return Engine(
            self.config, self.variation, rules, shared, plan, options.asha, tell, self.notify
        )

    def display(self, count: int, title: str = "") -> Display:
        """What shows the trials of one search."""
        return Display(self.console, count, len(self.prepared.folds), title)

    def notify(self, text: str) -> None:
        """Tell the user one line."""
        notify(self.console, text)


def search_digests(variants: Mapping[str, Prepared]) -> dict[str, str]:
    """Digests of settings, images and splits, and the sources of all first weights."""
    sources = dict.fromkeys(one.weights for one in variants.values())
    return next(iter(variants.values())).digests | {"weights": " ".join(sources)}


def feature_budget(config: Config) -> int:
    """Bytes of frozen features that are kept on each machine, see ``--cache-budget``.

    Raises
    ------
    UserError
        They cannot be written where they are kept.
    """
    wanted = config.cluster.cache_budget
    if wanted == 0:
        return 0
    folder = cache_folder()
    check_folder("--cache-budget: frozen features are kept in the user's cache", folder)
    if wanted != "auto":
        return int(wanted * 1e9)
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return min(MOST, int(SHARE * shutil.disk_usage(there).free))
