"""The passes over images: training batch by batch, and prediction.

Everything that touches each image is here; `folds.training.fit` decides which epochs there are.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from folds.arrays import Floats, Ints
from folds.augment import augment, to_input
from folds.config.stages import StagePosition
from folds.errors import DivergenceError
from folds.model.backbone import Classifier, layer_groups
from folds.model.layer_groups import BatchNorm, set_scales, train_mode
from folds.sampling import epoch_batches, epoch_draws, model_seed, uniform_table
from folds.training.checkpoint import FoldState
from folds.training.context import FoldContext
from folds.training.frozen import frozen_depth
from folds.training.frozen_view import PLAIN, View
from folds.training.loader import rows_on
from folds.training.losses import image_losses, triplet_loss
from folds.training.mixed_batches import Batch, mixed_batches
from folds.training.optim import update
from folds.training.predict import all_gather, eval_batches
from folds.training.schedule import epoch_rates

AT_ONCE = 2**30  # bytes of shared outputs that may lie on the device
Inputs = Iterator[Batch]


def train_epoch(
    context: FoldContext, state: FoldState, wrapped: nn.Module, position: StagePosition
) -> tuple[Tensor, float]:
    """Train on every global batch of an epoch.

    Returns
    -------
    losses : Tensor of float32, shape (steps,)
        Mean loss of each global batch, weighted by class, on the CPU; without a triplet term.
    rate : float
        Learning rate of the epoch's first step.

    Notes
    -----
    Nothing in a step waits for the device: rows and random numbers are there before the first,
    the losses leave it after the last.
    """
    config, device = context.problem.config, context.runtime.device
    microbatches = config.optim.accumulate
    batches, row = _global_batches(context, state.epoch)
    parts = [
        part for batch in batches for part in context.workers.microbatches(batch, microbatches)
    ]
    losses = torch.zeros(len(batches), device=device)
    dropout = model_seed(config.split.seed, context.repeat, context.number) + state.epoch
    train_mode(state.model, position.stage, config.train.frozen_norm)
    groups = len(layer_groups(state.model.backbone))
    rates = _rates(context, state, position, len(batches))
    inputs, start = _training_inputs(context, state, position, batches, row)
    drawn = zip(rows_on(device, parts), inputs, strict=True)
    for number, (draws, batch) in enumerate(drawn):
        step, before = divmod(number, microbatches)
        last = before == microbatches - 1
        with nullcontext() if last else _unshared(context, wrapped):
            with context.runtime.autocast():
                output = wrapped(batch.inputs, draws, dropout, start, with_features=True)
            losses[step] += _backward(context, state, output, batch)
        if last:
            done = position.epoch + (step + 1) / len(batches)
            set_scales(state.optimizer, groups, context.problem.stages, position, done, config)
            update(state, config.optim, rates[step], state.epoch * len(batches) + step)
    losses = context.workers.sum(losses).cpu() / _mean_weights(context, row[np.stack(batches)])
    _check_finite(context, state, position, losses)
    _share_statistics(context, state)
    return losses, rates[0]


def _rates(
    context: FoldContext, state: FoldState, position: StagePosition, steps: int
) -> list[float]:
    """Learning rates of the epoch's steps."""
    config = context.problem.config
    scores = [report.score for report in state.history if report.stage == position.index]
    return epoch_rates(config.optim, position, steps, scores)


def _unshared(context: FoldContext, wrapped: nn.Module) -> AbstractContextManager[object]:
    """Keep gradients to this worker: those of a whole batch are summed over the workers at once."""
    return nullcontext() if context.workers.size == 1 else cast(Any, wrapped).no_sync()


def _global_batches(context: FoldContext, epoch: int) -> tuple[list[Ints], Ints]:
    """An epoch's draws, batch by batch, and the row of each draw."""
    config, labels = context.problem.config, context.problem.images.labels
    seed, size = config.split.seed, config.train.batch_size
    draws, row = epoch_draws(context.train, labels, context.balance.targets, seed=seed, epoch=epoch)
    return list(epoch_batches(draws, size, seed=seed, epoch=epoch)), row


def _mean_weights(context: FoldContext, rows: Ints) -> Tensor:
    """Mean weight in the loss of each global batch's rows (steps, B)."""
    weights = context.balance.weights[context.problem.images.labels[rows]]
    return torch.from_numpy(weights.mean(axis=1)).float()


def _training_inputs(
    context: FoldContext,
    state: FoldState,
    position: StagePosition,
    batches: Sequence[Ints],
    row: Ints,
) -> tuple[Inputs, int]:
    """This worker's part of each piece of the global batches, and where in the chain they enter.

    Repetitions of an image share its view while the backbone has a frozen front, whether or not
    somebody has computed that (law 1); then each has its own.
    """
    problem, policy, workers = context.problem, context.problem.policy, context.workers
    microbatches = problem.config.optim.accumulate
    depth, mixes = _frozen_depth(context, state.model, position), problem.mixes(position.stage)
    rows = [row[batch] for batch in batches]
    parts = [part for batch in rows for part in workers.microbatches(batch, microbatches)]
    if not mixes and (shared := _shared_inputs(context, depth, state.epoch, parts)) is not None:
        return shared
    table = uniform_table(problem.config.split.seed, state.epoch, len(row), policy.columns)
    views = rows if depth else batches
    if mixes:
        return mixed_batches(problem, context.pixels, workers, table, rows, views, microbatches), 0
    seen = [part for view in views for part in workers.microbatches(view, microbatches)]
    looks = (
        Batch(numbers, augment(pixels, table[view], policy, problem.size))
        for view, (numbers, pixels) in zip(seen, context.pixels.batches(parts), strict=True)
    )
    return looks, 0


def _plain_inputs(
    context: FoldContext, model: Classifier, position: StagePosition, parts: Sequence[Ints]
) -> tuple[Inputs, int]:
    """The same for the plain view."""
    depth = _frozen_depth(context, model, position)
    if (shared := _shared_inputs(context, depth, PLAIN, parts)) is not None:
        return shared
    size = context.problem.size
    images = context.pixels.batches(parts)
    return (Batch(rows, to_input(pixels, size)) for rows, pixels in images), 0


def _frozen_depth(context: FoldContext, model: Classifier, position: StagePosition) -> int:
    problem = context.problem
    return frozen_depth(model, problem.stages, position.index, problem.config.train.frozen_norm)


def _shared_inputs(
    context: FoldContext, depth: int, epoch: int, parts: Sequence[Ints]
) -> tuple[Inputs, int] | None:
    """Outputs of the frozen front in a view as inputs, if somebody has computed them."""
    outputs = context.frozen_features(View(epoch, depth)) if depth else None
    return None if outputs is None else (_given_out(outputs, context.runtime.device, parts), depth)


def _given_out(outputs: Tensor, device: torch.device, parts: Sequence[Ints]) -> Inputs:
    """Shared outputs batch by batch: all of them on the device at once, unless they are many."""
    here = outputs.to(device) if outputs.nbytes <= AT_ONCE else outputs
    for rows, part in zip(rows_on(device, parts), parts, strict=True):
        chosen = rows if here.device == rows.device else torch.from_numpy(part)
        yield Batch(rows, here[chosen].to(device, non_blocking=True))


def _backward(
    context: FoldContext, state: FoldState, output: tuple[Tensor, Tensor], batch: Batch
) -> Tensor:
    """Add the gradients of this worker's part of a batch; returns its share of the batch's loss.

    Parameters
    ----------
    output : pair of Tensor, shapes (B, C) and (B, F)
        Logits and pooled features.
    """
    config, workers = context.problem.config, context.workers
    logits, features = output
    loss = share = _losses(context, logits, batch).sum() / config.train.batch_size
    if config.optim.triplet and features.requires_grad:
        labels = context.labels[batch.rows]
        everyone = workers.gather(labels[:, None], config.train.batch_size).squeeze(1)
        loss = share + config.optim.triplet * triplet_loss(features, labels, workers, everyone)
    torch.autograd.backward(state.scaler.scale(loss))
    return share.detach()


def _losses(context: FoldContext, logits: Tensor, batch: Batch) -> Tensor:
    """Loss (B,) of each image; of a mixed one as a blend of those for its two labels.

    A loss, its target smoothed or not, counts with the weight of its label's class (cross_entropy's
    `weight` would weight each class's share of a smoothed target instead).
    """

    def weighted(rows: Tensor) -> Tensor:
        labels = context.labels[rows]
        return image_losses(context.problem.config, logits, labels) * context.weights[labels]

    losses = weighted(batch.rows)
    if batch.partners is None or batch.shares is None:
        return losses
    return torch.lerp(weighted(batch.partners), losses, batch.shares)


def _share_statistics(context: FoldContext, state: FoldState) -> None:
    """Average the batch norm statistics that each worker kept: they validate one model."""
    if context.workers.size == 1:
        return
    for name, module in state.model.named_modules():
        if isinstance(module, BatchNorm) and module.training:
            for kind in ("running_mean", "running_var"):
                averages = (state.average or {}).get(f"{name}.{kind}")
                for buffer in (getattr(module, kind), averages):
                    if buffer is not None:
                        context.workers.sum(buffer).div_(context.workers.size)


def _check_finite(
    context: FoldContext, state: FoldState, position: StagePosition, losses: Tensor
) -> None:
    """Stop the fold at a loss that is not finite, naming its likely cause."""
    bad = (~torch.isfinite(losses)).nonzero()
    if not len(bad):
        return
    step = int(bad[0])
    before = float(losses[step - 1]) if step else math.nan
    raise DivergenceError(
        f"the loss became {float(losses[step])} at epoch {state.epoch + 1}, step {step + 1} "
        f"(the step before: {before:.4g}; {_cause(context, position)}"
    )


def _cause(context: FoldContext, position: StagePosition) -> str:
    """The likely cause of a divergence and its remedy, as the end of a message."""
    precision = context.runtime.precision
    return (
        f"learning rate {position.stage.learning_rate:g}, precision {precision}): lower the "
        f"learning rate of stage {position.index + 1} in --stages"
        + (", or use --precision fp32" if precision != "fp32" else "")
    )


def predict_logits(
    context: FoldContext, state: FoldState, position: StagePosition, rows: Ints
) -> Floats:
    """Logits (n, C) of n images in their plain view.

    Parameters
    ----------
    position : StagePosition
        When the network was trained last: what is frozen until then may be shared.

    Raises
    ------
    DivergenceError
        They are no finite numbers: the last step broke the network, and no loss has told.
    """
    logits = _predict_logits(context, state.model, position, rows)
    if not np.isfinite(logits).all():
        raise DivergenceError(
            f"the network's output is no finite number after epoch {state.epoch + 1} "
            f"({_cause(context, position)}"
        )
    return logits


@torch.inference_mode()
def _predict_logits(
    context: FoldContext, model: Classifier, position: StagePosition, rows: Ints
) -> Floats:
    """Logits (n, C) of n images in their plain view, the work shared by the workers."""
    model.eval()
    inputs, start = _plain_inputs(context, model, position, eval_batches(context, rows))
    outputs = []
    for images in inputs:
        with context.runtime.autocast():
            outputs.append(model(images.inputs, start=start).float())
    return all_gather(context, outputs, len(rows)).numpy()
