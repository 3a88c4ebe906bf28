"""One epoch of training: for each global batch forward, backward, and an update of the weights.

A global batch is the same however many workers share it and in however many microbatches it comes;
gradients are summed over both, and the weights change once a step. Nothing in a step waits for the
device: numbers of images and of draws are sent before the first, the losses leave after the last.
"""

from collections.abc import Iterable
from contextlib import nullcontext
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from folds.config.stages import StagePosition
from folds.model.blocks import layer_groups
from folds.model.layer_groups import BatchNorm, set_scales, train_mode
from folds.sampling import model_seed
from folds.training.checkpoint import FoldState
from folds.training.consistency import VIEWS, disagreement
from folds.training.context import FoldContext
from folds.training.divergence import check_losses
from folds.training.inputs import EpochInputs, training_inputs
from folds.training.losses import image_losses, taught_losses, triplet_loss
from folds.training.mixed_batches import Batch
from folds.training.optim import update
from folds.training.sam import steepest
from folds.training.schedule import epoch_rates


def train_epoch(
    context: FoldContext, state: FoldState, wrapped: nn.Module, position: StagePosition
) -> tuple[Tensor, float]:
    """Train on every global batch of an epoch.

    Parameters
    ----------
    wrapped : Module
        The state's model as it is called in training: by several workers, compiled.
    position : StagePosition
        The epoch's place in the stages.

    Returns
    -------
    losses : Tensor of float32, shape (steps,)
        Mean loss of each global batch, weighted by class, on the CPU; without the terms of
        triplets and of consistency.
    rate : float
        Learning rate of the epoch's first step.

    Raises
    ------
    DivergenceError
        A loss is no finite number.
    """
    config, workers = context.problem.config, context.workers
    inputs = training_inputs(context, state.model, position, state.epoch)
    steps = len(inputs)
    rates = _rates(context, state, position, steps)
    dropout_seed = model_seed(config.split.seed, context.repeat, context.number) + state.epoch
    groups = len(layer_groups(state.model.backbone))
    train_mode(state.model, position.stage, config.train.frozen_norm)
    losses = torch.zeros(steps, device=context.runtime.device)
    for step, microbatches in enumerate(inputs):
        losses[step] = step_gradients(context, state, wrapped, dropout_seed, inputs, microbatches)
        done = position.epoch + (step + 1) / steps
        set_scales(state.optimizer, groups, context.problem.stages, position, done, config)
        update(state, config.optim, rates[step], state.epoch * steps + step)
    weights = context.balance.weights[context.problem.images.labels[inputs.rows]]
    losses = workers.sum(losses).cpu() / torch.from_numpy(weights.mean(axis=1)).float()
    check_losses(context, state, position, losses)
    _average_statistics(context, state)
    return losses, rates[0]


def step_gradients(
    context: FoldContext,
    state: FoldState,
    wrapped: nn.Module,
    dropout_seed: int,
    inputs: EpochInputs,
    microbatches: Iterable[Batch],
) -> Tensor:
    """Compute the gradients that a step goes by, with ``--sam`` those of the steepest place.

    Returns
    -------
    Tensor of float32, shape ()
        This worker's share of the step's loss.
    """
    compute = partial(_gradients, context, state, wrapped, dropout_seed, inputs)
    radius = context.problem.config.optim.sam
    batches = list(microbatches) if radius else microbatches
    share = compute(batches)
    if radius:
        with steepest(state.model, radius):
            compute(batches)
    return share


def _gradients(
    context: FoldContext,
    state: FoldState,
    wrapped: nn.Module,
    dropout_seed: int,
    inputs: EpochInputs,
    microbatches: Iterable[Batch],
) -> Tensor:
    """Compute the gradients of a step; returns this worker's share of its loss."""
    share = torch.zeros((), device=context.runtime.device)
    for number, batch in enumerate(microbatches, start=1):
        # workers sum their gradients once a step, when its last microbatch has added its own
        alone = context.workers.size == 1 or number == inputs.accumulate
        with nullcontext() if alone else cast(Any, wrapped).no_sync():
            with context.runtime.autocast():
                output = wrapped(*batch.seen, dropout_seed, inputs.depth, with_features=True)
            share += _backward(context, state, output, batch)
    return share


def _rates(
    context: FoldContext, state: FoldState, position: StagePosition, steps: int
) -> list[float]:
    """Learning rate of each step: where scores would tell it and there are none, as the folds'."""
    settings, refit = context.problem.config.optim, context.refit
    if refit is not None and settings.schedule == "plateau":
        rates = [refit.rates[state.epoch]] * steps
    else:
        scores = [report.score for report in state.history if report.stage == position.index]
        rates = epoch_rates(settings, position, steps, scores)
    return [rate * context.attempt.rate for rate in rates]


def _backward(
    context: FoldContext, state: FoldState, output: tuple[Tensor, Tensor], batch: Batch
) -> Tensor:
    """Add the gradients of this worker's part of a batch; returns its share of the batch's loss.

    Parameters
    ----------
    output : pair of Tensor, shapes (B, C) and (B, F)
        Logits and pooled features; of other views behind those of the batch.
    """
    config, workers = context.problem.config, context.workers
    logits, features = (each[: len(batch.rows)] for each in output)
    # by the size of the global batch: shares sum to its mean, whatever the size of a worker's part
    loss = share = _losses(context, logits, batch).sum() / config.train.batch_size
    if config.optim.triplet and features.requires_grad:
        labels = context.labels[batch.leaders]  # of the class that is most of a mixed image
        everyone = workers.gather(labels[:, None], config.train.batch_size).squeeze(1)
        loss = loss + config.optim.triplet * triplet_loss(features, labels, workers, everyone)
    if batch.views is not None:
        apart = disagreement(output[0].view(VIEWS, len(batch.rows), -1))
        if batch.shares is not None:  # two labels in one view are another answer
            apart = apart * (batch.shares == 1)
        loss = loss + config.optim.consistency * apart.sum() / config.train.batch_size
    torch.autograd.backward(state.scaler.scale(loss))
    return share.detach()


def _losses(context: FoldContext, logits: Tensor, batch: Batch) -> Tensor:
    """Loss (B,) of each image; of a mixed one as a blend of those for its two labels.

    A loss, its target smoothed or not, counts with the weight of its label's class (cross_entropy's
    `weight` would weight each class's share of a smoothed target instead).
    """

    def weighted(rows: Tensor) -> Tensor:
        labels = context.labels[rows]
        losses = image_losses(context.problem.config, logits, labels)
        if context.taught is not None:
            losses = taught_losses(losses, logits, context.taught[rows])
        return losses * context.weights[labels]

    losses = weighted(batch.rows)
    if batch.partners is None or batch.shares is None:
        return losses
    return torch.lerp(weighted(batch.partners), losses, batch.shares)


def _average_statistics(context: FoldContext, state: FoldState) -> None:
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
