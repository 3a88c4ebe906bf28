"""Batches whose images are mixed with others of the same global batch.

A worker augments the partners that other workers have a second time instead of asking for them:
no worker waits for another, at the price of up to twice the augmentation.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from folds.arrays import Floats, Ints
from folds.augment import augment
from folds.augment.mixing import Mixing
from folds.runtime.workers import Workers
from folds.training.consistency import VIEWS, other_views
from folds.training.loader import BatchLoader
from folds.training.problem import Problem


class Batch(NamedTuple):
    """One worker's part of a global batch, or of a microbatch of it, on its device.

    Parameters
    ----------
    rows : Tensor of int64, shape (B,)
        Numbers of the images.
    inputs : Tensor, shape (B, ...)
        What the network gets.
    draws : Tensor of int64, shape (B,), optional
        Numbers of the images' draws (`folds.sampling.epoch_draws`), which dropout goes by; in
        training alone.
    partners : Tensor of int64, shape (B,), optional
        Numbers of the images that were mixed in; their labels take part in the target.
    shares : Tensor of float32, shape (B,), optional
        Of an image's own label in its target.
    views : Tensor, shape (2 B, 3, S, S), optional
        Other views of the images, not mixed, see `folds.training.consistency`.
    """

    rows: Tensor
    inputs: Tensor
    draws: Tensor | None = None
    partners: Tensor | None = None
    shares: Tensor | None = None
    views: Tensor | None = None

    @property
    def leaders(self) -> Tensor:
        """Numbers (B,) of the images whose label is most of each target: of halves its own."""
        if self.partners is None or self.shares is None:
            return self.rows
        return torch.where(self.shares < 0.5, self.partners, self.rows)

    @property
    def seen(self) -> tuple[Tensor, Tensor | None]:
        """What the network gets, other views behind, and the draws that dropout goes by.

        An image's views have its draw, so they lose the same features.
        """
        if self.views is None or self.draws is None:
            return self.inputs, self.draws
        return torch.cat([self.inputs, self.views]), self.draws.repeat(VIEWS)


@dataclass(frozen=True)
class MixingPlan:
    """Which images of a global batch a worker needs for its part, or for a microbatch of that.

    Parameters
    ----------
    places : ndarray of int64, shape (n + m,)
        Places in the global batch: the worker's n, then m partners that others have.
    partners : ndarray of int64, shape (n,)
        Where in `places` the partner of each of the n is.
    mixing : Mixing
        Of the n.
    """

    places: Ints
    partners: Ints
    mixing: Mixing


def mixing_plan(mixing: Mixing, mine: Ints) -> MixingPlan:
    """Find the partners that a worker has to fetch for its places (n,) in a global batch."""
    part = mixing.part(mine)
    places = np.concatenate([mine, np.setdiff1d(part.partners, mine)])
    order = np.argsort(places)
    partners = order[np.searchsorted(places, part.partners, sorter=order)]
    return MixingPlan(places, partners, part)


def mixed_batches(
    problem: Problem,
    pixels: BatchLoader,
    workers: Workers,
    table: Floats,
    rows: Ints,
    views: Ints,
    accumulate: int = 1,
    other: Floats | None = None,
) -> Iterator[Batch]:
    """Augment and mix the images of each global batch that are this worker's.

    Parameters
    ----------
    pixels : BatchLoader
        All images.
    workers : Workers
        Whose part is meant.
    table : ndarray of float32, shape (draws, policy.columns)
        Of the epoch.
    rows, views : ndarray of int64, shape (steps, B)
        Images of the global batches, and the rows of `table` by which they are augmented.
    accumulate : int
        Microbatches of each global batch, which come one after another.
    other : ndarray of float32, shape (draws, policy.columns), optional
        The table of the images' other views, where they are asked for.

    Notes
    -----
    An image's partner and how they are mixed depend on the global batch and the table, not on the
    number of workers or of microbatches.
    """
    policy, labels = problem.policy, problem.images.labels
    plans, parts, part_views = [], [], []
    for batch, view in zip(rows, views, strict=True):
        mixing = policy.mixing(table[view], labels[batch])
        for mine in workers.microbatches(np.arange(len(batch)), accumulate):
            plan = mixing_plan(mixing, mine)
            plans.append(plan)
            parts.append(batch[plan.places])
            part_views.append(view[plan.places])
    for view, plan, (numbers, content) in zip(
        part_views, plans, pixels.batches(parts), strict=True
    ):
        images = augment(content, table[view], policy, problem.size)
        own = len(plan.partners)  # partners that other workers have stand behind them
        at = torch.from_numpy(plan.partners).to(images.device, non_blocking=True)
        mixed, shares = policy.mix(images[:own], images[at], plan.mixing)
        others = None
        if other is not None:
            others = other_views(content[:own], other[view[:own]], policy, problem.size)
        yield Batch(numbers[:own], mixed, None, numbers[at], shares, others)
