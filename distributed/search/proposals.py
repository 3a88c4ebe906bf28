"""Which configuration comes next: Optuna's samplers, asked in order.

Optuna is told of trials in the order of their numbers, and asked for trial n when it knows of all
trials up to n less `Rules.ahead`. Its random numbers follow from the seed, so the same results give
the same proposals: a search that goes on asks again for what was proposed before.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from ray.tune.search import Searcher

from distributed.search.options import Sampler
from distributed.search.race import Rules
from distributed.search.trials import Trial, Trials
from folds.config.spaces import Parameter, Space, Values


class Proposer:
    """Gives the values of trial after trial.

    Parameters
    ----------
    space : Space
    sampler : {"tpe", "random", "grid", "cmaes"}
        A tree of Parzen estimators (Bergstra et al., NeurIPS 2011), chance, all combinations in an
        order of chance, or CMA-ES (Hansen, 2016), which draws what is no number by chance.
    count : int
        Trials at most; a grid has no more than its combinations.
    seed : int
    """

    def __init__(self, space: Space, sampler: Sampler, count: int, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._told = space, 0
        self._asked: list[optuna.trial.Trial] = []
        self._grid: list[Values] | None = None
        self.count = count
        if sampler == "grid":
            every = space.grid()
            order = np.random.default_rng(seed).permutation(len(every))
            self._grid = [every[row] for row in order]
            self.count = min(count, len(every))
        self._study = optuna.create_study(direction="maximize", sampler=_sampler(sampler, seed))

    def next(self) -> Values:
        """Values of the next trial; the first call gives those of trial 1."""
        if self._grid is not None:
            self._told += 1
            return self._grid[self._told - 1]
        self._asked.append(self._study.ask())
        values: Values = {}
        for parameter in self._space.parameters:
            if parameter.used(values):
                values[parameter.name] = _draw(self._asked[-1], parameter)
        return values

    def tell(self, trial: Trial) -> None:
        """Say how the trial behind the last one that was told ended."""
        if self._grid is not None:
            return
        asked = self._asked[self._told]
        self._told += 1
        if trial.estimate is None or not np.isfinite(trial.estimate):
            self._study.tell(asked, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(asked, trial.estimate)


def _sampler(name: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    if name == "cmaes":
        chance = optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.CmaEsSampler(
            seed=seed, independent_sampler=chance, warn_independent_sampling=False
        )
    return optuna.samplers.RandomSampler(seed=seed)


def _draw(trial: optuna.trial.Trial, parameter: Parameter) -> Any:
    if parameter.kind == "choice":  # Optuna takes plain values alone, and ours may be lists
        return parameter.choices[
            trial.suggest_categorical(parameter.name, range(len(parameter.choices)))
        ]
    if parameter.kind == "int":
        return trial.suggest_int(parameter.name, int(parameter.low), int(parameter.high))
    log = parameter.kind == "loguniform"
    return trial.suggest_float(parameter.name, parameter.low, parameter.high, log=log)


class Proposals(Searcher):  # type: ignore[misc]
    """Hands trials to Ray Tune when their time has come.

    Parameters
    ----------
    proposer : Proposer
    trials : Trials
        Trials in it that have ended are told to the proposer, and not run again.
    rules : Rules
    assign : callable
        What a worker is given for a trial; None where the trial has failed before it began.
    """

    def __init__(
        self,
        proposer: Proposer,
        trials: Trials,
        rules: Rules,
        assign: Callable[[Trial], object | None],
    ) -> None:
        super().__init__()
        self._proposer, self._trials, self._rules, self._assign = proposer, trials, rules, assign
        self._number = self._known = 0

    def suggest(self, _trial_id: str) -> Any:
        """The next trial's configuration, None while it must wait, or FINISHED."""
        while self._number < self._proposer.count:
            number = self._number + 1
            while self._known < number - self._rules.ahead:
                trial = self._trials[self._known + 1]
                if trial.state == "unfinished":
                    return None
                self._proposer.tell(trial)
                self._known += 1
            self._number = number
            trial = self._trials.begin(number, self._proposer.next())
            if trial.state == "unfinished" and (given := self._assign(trial)) is not None:
                return {"assignment": given}
        return Searcher.FINISHED

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: the race has kept it."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Ray Tune writes down what it would go on from; a search goes on from its trials."""
        return Searcher, ()

    def save(self, _path: str) -> None:
        """Do nothing: `trials` are on disk."""

    def restore(self, _path: str) -> None:
        """Do nothing."""


class Listed(Searcher):  # type: ignore[misc]
    """Hands given trials to Ray Tune, one after another."""

    def __init__(self, trials: Sequence[Trial], assign: Callable[[Trial], object | None]) -> None:
        super().__init__()
        self._left, self._assign = list(trials), assign

    def suggest(self, _trial_id: str) -> Any:
        """The next trial's configuration, or FINISHED."""
        if not self._left:
            return Searcher.FINISHED
        return {"assignment": self._assign(self._left.pop(0))}

    on_trial_complete = Proposals.on_trial_complete
    save, restore = Proposals.save, Proposals.restore
    __reduce__ = Proposals.__reduce__
