"""What stays the same while one fold is trained."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from folds.arrays import Ints
from folds.images import ImageSet
from folds.runtime.device import Runtime, as_tensor
from folds.runtime.memory import Pieces
from folds.runtime.workers import Workers
from folds.training.attempt import FIRST, Attempt
from folds.training.balance import Balance
from folds.training.frozen import FrozenFeatures
from folds.training.loader import BatchLoader
from folds.training.problem import Problem
from folds.training.refit import RefitPlan


@dataclass(frozen=True)
class FoldContext:
    """The fixed surroundings of one fold's training.

    Rows `train` and `held_out` are the fold's training and validation parts; `holdout` is the test
    part that no fold trains on or chooses by. `externals` has the pixels of external images, by
    their sets' names. `refit` says how to train where there is no validation part.
    `taught` is what teachers say of all images, see `folds.training.losses.taught_losses`.
    `attempt` says in how many parts a batch is computed, and at what share of the learning rates.
    `depths` are what `folds.training.frozen.frozen_depth` gave for stages by their numbers;
    `pieces` computes passes without gradients.
    """

    problem: Problem
    repeat: int
    number: int
    runtime: Runtime
    workers: Workers
    pixels: BatchLoader
    labels: Tensor
    train: Ints
    held_out: Ints
    holdout: Ints
    balance: Balance
    weights: Tensor  # (C,), those of `balance` on the device
    frozen_features: FrozenFeatures
    externals: dict[str, BatchLoader]
    refit: RefitPlan | None = None
    attempt: Attempt = FIRST
    taught: Tensor | None = None  # (N, C)
    depths: dict[int, int] = field(default_factory=dict)
    pieces: Pieces = field(default_factory=Pieces)

    @property
    def microbatches(self) -> int:
        """Parts in which a global batch is computed one after another."""
        return max(self.problem.config.optim.accumulate, self.attempt.parts)


def fold_context(
    problem: Problem,
    repeat: int,
    fold: int,
    runtime: Runtime,
    workers: Workers,
    frozen_features: FrozenFeatures,
    refit: RefitPlan | None = None,
    attempt: Attempt = FIRST,
    share: float = 1.0,
) -> FoldContext:
    """Divide the images for a fold and put them on its device."""
    train, held_out = problem.parts(repeat, fold, share)
    room = None if attempt.parts == 1 else 0  # a device that was full does not keep images

    def loader(images: ImageSet) -> BatchLoader:
        return BatchLoader(images.pixels, runtime.device, room=room)

    pixels = loader(problem.images)
    labels = as_tensor(problem.images.labels).to(runtime.device)
    holdout = problem.splits.holdout(problem.images.ids)
    balance = problem.balance(train)
    weights = torch.from_numpy(balance.weights).float().to(runtime.device)
    externals = {e.name: loader(e.images) for e in problem.externals}
    taught = _taught(problem, refit)
    return FoldContext(
        problem, repeat, fold, runtime, workers, pixels, labels, train, held_out, holdout, balance,
        weights, frozen_features, externals, refit, attempt,
        None if taught is None else taught.to(runtime.device),
    )  # fmt: skip


def _taught(problem: Problem, refit: RefitPlan | None) -> Tensor | None:
    """What teachers say (N, C) of all images, times its share in the target."""
    if refit is None or refit.teachers is None:
        return None
    taught = torch.zeros(len(problem.images), len(problem.images.class_names))
    teachers = refit.teachers
    taught[teachers.rows] = teachers.share * torch.from_numpy(teachers.probabilities)
    return taught
