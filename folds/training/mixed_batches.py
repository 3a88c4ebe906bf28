"""Batches whose images are mixed with others of the same global batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from folds.arrays import Floats, Ints
from folds.augment import augment
from folds.augment.mixing import Mixing
from folds.runtime.workers import Workers
from folds.training.loader import Gather
from folds.training.problem import Problem


class Batch(NamedTuple):
    """One worker's part of a global batch, on its device.

    Parameters
    ----------
    rows : Tensor of int64, shape (B,)
        Numbers of the images.
    inputs : Tensor, shape (B, ...)
        What the network gets.
    partners : Tensor of int64, shape (B,), optional
        Numbers of the images that were mixed in; their labels take part in the target.
    shares : Tensor of float32, shape (B,), optional
        Of an image's own label in its target.
    """

    rows: Tensor
    inputs: Tensor
    partners: Tensor | None = None
    shares: Tensor | None = None


@dataclass(frozen=True)
class Needed:
    """What a worker needs of a global batch, or of a piece of it.

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


def needed(mixing: Mixing, mine: Ints) -> Needed:
    """Find the partners that a worker has to fetch for its places (n,) in a global batch."""
    part = mixing.part(mine)
    places = np.concatenate([mine, np.setdiff1d(part.partners, mine)])
    order = np.argsort(places)
    partners = order[np.searchsorted(places, part.partners, sorter=order)]
    return Needed(places, partners, part)


def mixed_batches(
    problem: Problem,
    pixels: Gather,
    workers: Workers,
    table: Floats,
    batches: Sequence[Ints],
    views: Sequence[Ints],
    microbatches: int = 1,
) -> Iterator[Batch]:
    """Augment and mix the images of each global batch that are this worker's.

    Parameters
    ----------
    pixels : Gather
        All images.
    workers : Workers
        Whose part is meant.
    table : ndarray of float32, shape (views, policy.columns)
        Of the epoch.
    batches, views : sequence of ndarray of int64, shape (B,) each
        Rows of the global batches' images, and of their numbers in the table.
    microbatches : int
        How many of each batch come one after another.

    Notes
    -----
    An image's partner and how they are mixed depend on the global batch and the table, not on the
    number of workers or of pieces.
    """
    policy, labels = problem.policy, problem.images.labels
    plans, parts, seen = [], [], []
    for batch, view in zip(batches, views, strict=True):
        mixing = policy.mixing(table[view], labels[batch])
        for mine in workers.microbatches(np.arange(len(batch)), microbatches):
            plan = needed(mixing, mine)
            plans.append(plan)
            parts.append(batch[plan.places])
            seen.append(view[plan.places])
    for view, plan, (rows, content) in zip(seen, plans, pixels.batches(parts), strict=True):
        looks = augment(content, table[view], policy, problem.size)
        count = len(plan.partners)
        at = torch.from_numpy(plan.partners).to(looks.device, non_blocking=True)
        images, shares = policy.mix(looks[:count], looks[at], plan.mixing)
        yield Batch(rows[:count], images, rows[at], shares)
