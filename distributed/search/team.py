"""A fold of a trial that several DDP workers share: Ray Train's worker group for one fold."""

import tempfile
import time
from dataclasses import dataclass
from typing import Any

import ray
import torch

from distributed.data.localize import localize
from distributed.lanes.trainer import make_trainer
from folds.errors import DivergenceError, UserError
from folds.runtime.cpu import keep_memory
from folds.runtime.device import Runtime
from folds.training.feature_cache import frozen_features
from folds.training.fit import fit_fold
from folds.training.outcome import FoldOutcome
from folds.training.problem import Problem


@dataclass(frozen=True)
class Team:
    """The workers of a fold.

    Parameters
    ----------
    workers : int
        2 or more.
    resources : dict of str to float
        Of each.
    threads : int
        Cores of each.
    runtime : Runtime
        Its device is that of all.
    budget : int
        Bytes of frozen features on each machine.
    """

    workers: int
    resources: dict[str, float]
    threads: int
    runtime: Runtime
    budget: int

    def fit(self, problem: Problem, weights: str, repeat: int, fold: int) -> FoldOutcome:
        """Train a fold; blocks.

        Parameters
        ----------
        weights : str
            `folds.model.weights.state_digest` of the first weights.

        Raises
        ------
        DivergenceError, UserError
            As `folds.training.fit.fit_fold`.
        Exception
            What Ray raises when the workers cannot be kept alive.
        """
        from ray.train import RunConfig, ScalingConfig

        cuda = self.runtime.device.type == "cuda"
        task = {"team": self, "problem": ray.put(problem), "weights": weights}
        with tempfile.TemporaryDirectory() as storage:
            trainer = make_trainer(
                _work,
                workers=self.workers,
                backend="nccl" if cuda else "gloo",
                train_loop_config=task | {"repeat": repeat, "fold": fold},
                scaling_config=ScalingConfig(
                    num_workers=self.workers, use_gpu=cuda, resources_per_worker=self.resources
                ),
                run_config=RunConfig(name=f"fold-{time.time_ns()}", storage_path=storage),
            )
            outcome, kind, cause = trainer.fit().return_value
        if kind is not None:
            raise kind(cause)
        return outcome


def _work(task: dict[str, Any]) -> tuple[FoldOutcome | None, type[Exception] | None, str]:
    """One worker's part; all give the same, the fold's outcome or why there is none."""
    team: Team = task["team"]
    keep_memory()
    torch.set_num_threads(team.threads)
    problem = localize(ray.get(task["problem"]))
    features = frozen_features(problem, team.runtime, task["weights"], team.budget)
    try:
        result = fit_fold(
            problem, task["repeat"], task["fold"], runtime=team.runtime, frozen_features=features
        )
    except (DivergenceError, UserError) as error:  # on all workers alike
        return None, type(error), str(error)
    return result.outcome, None, ""
