"""What enters the network in a pass over images: augmented, mixed or plain images, or features.

All of an epoch is settled on the host before its first step: which images make up each global
batch, which row of the table augments each of them, and which are this worker's. Their numbers go
to the device at once; pixels follow one microbatch ahead of the network (`BatchLoader.batches`).
Where the outputs of the backbone's frozen front are there (`folds.training.frozen`), they enter
behind it, and no pixel is touched.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from folds.arrays import Floats, Ints
from folds.augment import augment
from folds.config.stages import StagePosition
from folds.model.backbone import Classifier
from folds.sampling import epoch_batches, epoch_draws, uniform_table
from folds.training.consistency import other_views
from folds.training.context import FoldContext
from folds.training.frozen import frozen_depth
from folds.training.frozen_view import PLAIN, View
from folds.training.loader import rows_on
from folds.training.mixed_batches import Batch, mixed_batches

RESIDENT_BYTES = 2**30  # frozen features up to this size lie on the device as a whole


@dataclass(frozen=True)
class Inputs:
    """This worker's batches in a pass over images.

    Parameters
    ----------
    batches : iterator of Batch
        In order; each is made when it is asked for.
    depth : int
        Parts of the backbone's chain that lie behind them: 0 for images, more for features.
    """

    batches: Iterator[Batch]
    depth: int


@dataclass(frozen=True)
class EpochInputs(Inputs):
    """This worker's batches in an epoch of training, step by step.

    Parameters
    ----------
    rows : ndarray of int64, shape (steps, B)
        Images of each global batch, those of all workers.
    accumulate : int
        Microbatches a step: each global batch is as many of `batches`.
    """

    rows: Ints
    accumulate: int

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Iterator[Batch]]:
        """Give the microbatches of each step, which are to be taken before the next step's."""
        return (islice(self.batches, self.accumulate) for _ in self.rows)


def training_inputs(
    context: FoldContext, model: Classifier, position: StagePosition, epoch: int
) -> EpochInputs:
    """An epoch's inputs: mixed images, frozen features or augmented images.

    Parameters
    ----------
    position : StagePosition
        The epoch's place in the stages, which says what is frozen and whether images are mixed.
    epoch : int
        Its number in the fold.

    Notes
    -----
    - what makes up the batches is drawn anew in each repeat, and so is how images look; but where
      a frozen front's outputs can be shared they look alike, or these would cost once a repeat.
    """
    problem, config = context.problem, context.problem.config
    seed, accumulate = config.split.seed, context.microbatches
    of = {"seed": seed, "epoch": epoch, "repeat": context.repeat}
    order, row = epoch_draws(context.train, problem.images.labels, context.balance.targets, **of)
    draws = np.stack(list(epoch_batches(order, config.train.batch_size, **of)))
    rows = row[draws]
    depth, stage = _depth(context, model, position), position.stage
    parts, whole = _microbatches(context, rows), problem.needs_images(stage)
    inputs = None if whole else _frozen_inputs(context, View(epoch, depth), parts)
    if inputs is None:
        # repetitions of an image, and the repeats, share its view while the backbone has a frozen
        # front, even where nobody has computed that: a result must not depend on what is shared
        # (law 1)
        views = rows if depth else draws
        repeat = context.repeat if whole or not depth else 0
        shape = (len(row), problem.policy.columns)
        table = uniform_table(seed, epoch, *shape, repeat=repeat)
        other = None
        if problem.compares(stage):
            other = uniform_table(seed, epoch, *shape, repeat=repeat, second=True)
        if problem.mixes(stage):
            batches = mixed_batches(
                problem, context.pixels, context.workers, table, rows, views, accumulate, other
            )
        else:
            batches = _augmented(context, table, parts, _microbatches(context, views), other)
        inputs = Inputs(batches, depth=0)
    numbers = rows_on(context.runtime.device, _microbatches(context, draws))
    numbered = (
        batch._replace(draws=these) for these, batch in zip(numbers, inputs.batches, strict=True)
    )
    return EpochInputs(numbered, inputs.depth, rows, accumulate)


def plain_inputs(
    context: FoldContext, model: Classifier, position: StagePosition, parts: Sequence[Ints]
) -> Inputs:
    """Some images in their plain view: frozen features where they are there, else their pixels.

    What the network gets of pixels is `folds.augment.to_input`, which takes four times their room.

    Parameters
    ----------
    position : StagePosition
        When the network was trained last: what was frozen until then may be shared.
    parts : sequence of ndarray of int64, shape (B,) each
        Rows of each batch.
    """
    view = View(PLAIN, _depth(context, model, position))
    if (inputs := _frozen_inputs(context, view, parts)) is not None:
        return inputs
    return Inputs((Batch(*batch) for batch in context.pixels.batches(parts)), depth=0)


def _depth(context: FoldContext, model: Classifier, position: StagePosition) -> int:
    """Parts of the chain that no stage so far has trained."""
    problem, index = context.problem, position.index
    if index not in context.depths:
        norm = problem.config.train.frozen_norm
        context.depths[index] = frozen_depth(model, problem.stages, index, norm)
    return context.depths[index]


def _microbatches(context: FoldContext, batches: Ints) -> list[Ints]:
    """This worker's part of each microbatch of global batches (steps, B), in order."""
    number, workers = context.microbatches, context.workers
    return [part for batch in batches for part in workers.microbatches(batch, number)]


def _augmented(
    context: FoldContext,
    table: Floats,
    parts: Sequence[Ints],
    views: Sequence[Ints],
    other: Floats | None,
) -> Iterator[Batch]:
    """Images of `parts`, augmented by the rows `views` of an epoch's tables."""
    policy, size = context.problem.policy, context.problem.size
    for view, (rows, pixels) in zip(views, context.pixels.batches(parts), strict=True):
        others = None if other is None else other_views(pixels, other[view], policy, size)
        yield Batch(rows, augment(pixels, table[view], policy, size), views=others)


def _frozen_inputs(context: FoldContext, view: View, parts: Sequence[Ints]) -> Inputs | None:
    """Outputs of the frozen front in a view, if there is one and somebody has computed them."""
    features = context.frozen_features(view) if view.depth else None
    if features is None:
        return None
    device = context.runtime.device
    # many features stay on the host, and are sent batch by batch
    resident = features.to(device) if features.nbytes <= RESIDENT_BYTES else features

    def batches() -> Iterator[Batch]:
        for rows, part in zip(rows_on(device, parts), parts, strict=True):
            chosen = rows if resident.device == rows.device else torch.from_numpy(part)
            yield Batch(rows, resident[chosen].to(device, non_blocking=True))

    return Inputs(batches(), view.depth)
