"""The worker of a search: a process that trains fold after fold, of one trial after another."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from ray.tune import Trainable

from distributed.search.race import behind
from distributed.search.team import Team
from distributed.search.variants import Variant
from folds.config import Config
from folds.errors import DivergenceError, UserError, reason
from folds.runtime.cpu import keep_memory
from folds.runtime.device import Runtime
from folds.runtime.memory import out_of_memory
from folds.training.feature_cache import FeatureCache, frozen_features
from folds.training.fit import fit_fold
from folds.training.frozen import FrozenFeatures, no_frozen_features
from folds.training.outcome import EpochReport, FoldOutcome
from folds.training.problem import Problem


@dataclass(frozen=True)
class Shared:
    """What all workers are given.

    Parameters
    ----------
    variants : mapping of str to Variant
    folds : list of (repeat, fold)
        In the order in which all trials train them.
    runtime : Runtime
    threads : int
        Cores of a worker.
    budget : int
        Bytes of the frozen features that are kept on each machine; 0: none are shared.
    team : Team, optional
        Workers that share each fold, processes of their own; None: this one trains alone.
    """

    variants: Mapping[str, Variant]
    folds: list[tuple[int, int]]
    runtime: Runtime
    threads: int
    budget: int
    team: Team | None = None


@dataclass(frozen=True)
class Assignment:
    """A trial that a worker shall train.

    Parameters
    ----------
    number : int
    settings : mapping
        By flag name, all of them.
    variant : str
        Which of `Shared.variants`.
    first : int
        Place of the first fold that is not done yet.
    rungs : mapping of int to list of float
        See `distributed.search.race.rungs`.
    """

    number: int
    settings: Mapping[str, Any]
    variant: str
    first: int = 0
    rungs: dict[int, list[float]] = field(default_factory=dict)


class _BehindError(Exception):
    """A fold ends early: a rung has been missed."""


class FoldTrainable(Trainable):  # type: ignore[misc]
    """Trains a fold a step; Ray Tune gives the process trial after trial."""

    def setup(self, config: dict[str, Any], shared: Shared) -> None:
        """Begin the first trial."""
        self._shared = shared
        keep_memory()
        torch.set_num_threads(shared.threads)
        self._begin(config["assignment"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in the same process."""
        self._begin(new_config["assignment"])
        return True

    def _begin(self, assignment: Assignment) -> None:
        self._assignment, self._place = assignment, assignment.first
        self._problem: Problem | None = None
        self._epochs: list[float] = []
        self._features: FrozenFeatures = no_frozen_features

    def step(self) -> dict[str, Any]:
        """Train the next fold.

        Returns
        -------
        dict
            ``place``, ``outcome`` and ``seconds`` of the fold; or ``failed``, why there is none,
            ``state``, what the trial is then, and ``epochs``, the scores of those that it had.
        """
        start = time.perf_counter()
        try:
            outcome = self._fold()
        except (DivergenceError, UserError) as error:
            return {"failed": str(error), "state": "failed", "epochs": []}
        except _BehindError as error:
            return {"failed": str(error), "state": "stopped", "epochs": self._epochs}
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            cause = f"out of memory ({reason(error)}): lower --batch-size or --image-size"
            return {"failed": cause, "state": "failed", "epochs": []}
        place, self._place = self._place, self._place + 1
        seconds = time.perf_counter() - start
        return {"place": place, "outcome": outcome, "seconds": seconds}

    def _fold(self) -> FoldOutcome:
        shared = self._shared
        repeat, fold = shared.folds[self._place]
        if self._problem is None:
            self._problem = self._prepare()
        if shared.team is not None:
            weights = shared.variants[self._assignment.variant].weights
            outcome = shared.team.fit(self._problem, weights, repeat, fold)
            return replace(outcome, features=outcome.features[:0])
        result = fit_fold(
            self._problem,
            repeat,
            fold,
            runtime=shared.runtime,
            frozen_features=self._features,
            on_epoch=self._check,
        )
        # the map of the images is not drawn of a trial
        return replace(result.outcome, features=result.features[:0])

    def _prepare(self) -> Problem:
        shared, given = self._shared, self._assignment
        variant = shared.variants[given.variant]
        problem = variant.problem(Config.from_flat(dict(given.settings)))
        if shared.team is None:
            budget = shared.budget
            features = frozen_features(problem, shared.runtime, variant.weights, budget)
            if isinstance(features, FeatureCache):
                features.fill()
            self._features = features
        return problem

    def _check(self, report: EpochReport) -> None:
        self._epochs.append(report.score)
        if self._place == 0 and behind(report.epoch, report.score, self._assignment.rungs):
            raise _BehindError(
                f"not among the best third after epoch {report.epoch + 1} of its first fold"
            )
