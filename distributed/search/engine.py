"""Running trials on Ray Tune: proposals in, trials in the search's folder out."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ray import tune
from ray.tune.search import Searcher

from distributed.planning.plan import Plan
from distributed.search.proposals import Listed, Proposals, Proposer
from distributed.search.race import Race, Rules, rungs, settle
from distributed.search.trainable import Assignment, FoldTrainable, Shared
from distributed.search.trials import Trial, Trials
from distributed.search.variants import key
from folds.config import Config
from folds.config.spaces import Space, Values
from folds.errors import UserError

_ENV = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # trials are kept by us
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # what there is to see we show
}


@dataclass(frozen=True)
class Engine:
    """What all trials of a search run with.

    Parameters
    ----------
    config : Config
        The settings that the space does not name.
    space : Space
    rules : Rules
    shared : Shared
    plan : Plan
        Trials at a time, and what each takes.
    asha : bool
        Whether a trial's first fold may end before its last epoch.
    tell : callable
        Is given a trial whenever something has happened to it.
    notify : callable
        Tells the user one line.
    """

    config: Config
    space: Space
    rules: Rules
    shared: Shared
    plan: Plan
    asha: bool
    tell: Callable[[Trial], None]
    notify: Callable[[str], None]

    def search(self, trials: Trials, proposer: Proposer, budget: float | None) -> None:
        """Run trials until there are as many as wanted, or the time is over.

        Parameters
        ----------
        trials : Trials
            Those in it that have ended are not run again.
        budget : float, optional
            Seconds.
        """
        for trial in trials:
            settle(trials, trial.number, self.rules)  # may have been killed before it was said
        assign = partial(self._assign, trials)
        self._run(trials, Proposals(proposer, trials, self.rules, assign), budget)

    def finish(self, trials: Trials, numbers: list[int]) -> None:
        """Train the remaining folds of trials that were stopped."""
        for number in numbers:
            trials.reopen(number)
        chosen = [trials[number] for number in numbers]
        self._run(trials, Listed(chosen, partial(self._assign, trials)), None)

    def settings(self, values: Values) -> dict[str, object]:
        """All settings of a trial by flag name."""
        return self.config.flat() | self.space.settings(values)

    def _assign(self, trials: Trials, trial: Trial) -> Assignment | None:
        try:
            config = Config.from_flat(self.settings(trial.values))
        except UserError as error:
            trials.end(trial.number, "failed", why=str(error))
            self.tell(trial)
            return None
        first = len(trial.scores)
        known = rungs(trials, trial.number, self.rules) if self.asha and not first else {}
        return Assignment(trial.number, config.flat(), key(config), first, known)

    def _run(self, trials: Trials, searcher: Searcher, budget: float | None) -> None:
        os.environ.update(_ENV)
        if "CROSSFOLD_VERBOSE" not in os.environ:  # that a worker was lost is told by the trial
            logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        worker = tune.with_parameters(FoldTrainable, shared=self.shared)
        alone = self.shared.team is None  # else a team's workers take the cores, and it one byte
        own = self.plan.resources_per_worker if alone else {"memory": 1}
        place = tune.PlacementGroupFactory([own])
        tuner = tune.Tuner(
            tune.with_resources(worker, place),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=Race(trials, self.rules, self.tell, self.notify),
                num_samples=-1,
                max_concurrent_trials=None if alone else self.plan.lanes,
                time_budget_s=budget,
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str((trials.folder / "ray").resolve()),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(self.config.cluster.max_failures),
                verbose=0,
            ),
        )
        tuner.fit()


def _name(trial: object) -> str:
    return f"trial-{trial.config['assignment'].number}"  # type: ignore[attr-defined]
