"""The passes over images: training batch by batch, and prediction.

Everything that touches each image is here; `folds.fit` decides which epochs there are.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from folds.augment import augment, to_input
from folds.backbone import Classifier, train_mode
from folds.batches import epoch_batches, model_seed, uniform_table
from folds.checkpoint import FoldState
from folds.device import Runtime, as_tensor
from folds.errors import DivergenceError
from folds.evaluate import Floats, Ints
from folds.front import WIDER, Shared, front_depth
from folds.gather import Gather, rows_on
from folds.mixed import Batch, mixed_batches
from folds.problem import Problem
from folds.stages import Moment, learning_rate
from folds.team import Team
from folds.views import PLAIN, View

AT_ONCE = 2**30  # bytes of shared outputs that may lie on the device
Inputs = Iterator[Batch]


@dataclass(frozen=True)
class Place:
    """The fixed surroundings of one fold's training."""

    problem: Problem
    repeat: int
    number: int
    runtime: Runtime
    team: Team
    pixels: Gather
    labels: Tensor
    train: Ints
    held_out: Ints
    shared: Shared


def find_place(
    problem: Problem, repeat: int, fold: int, runtime: Runtime, team: Team, shared: Shared
) -> Place:
    """Divide the images for a fold and put them on its device."""
    train, held_out = problem.splits.parts(repeat, fold, problem.images.ids)
    pixels = Gather(problem.images.pixels, runtime.device)
    labels = as_tensor(problem.images.labels).to(runtime.device)
    return Place(problem, repeat, fold, runtime, team, pixels, labels, train, held_out, shared)


def train_epoch(
    place: Place, state: FoldState, wrapped: nn.Module, now: Moment
) -> tuple[Tensor, float]:
    """Train on every global batch of an epoch.

    Returns
    -------
    losses : Tensor of float32, shape (steps,)
        Mean loss of each global batch, on the CPU.
    rate : float
        Learning rate of the epoch's first step.

    Notes
    -----
    Nothing in a step waits for the device: rows and random numbers are there before the first,
    the losses leave it after the last.
    """
    config, device = place.problem.config, place.runtime.device
    seed, size = config.split.seed, config.train.batch_size
    batches = list(epoch_batches(place.train, size, seed=seed, epoch=state.epoch))
    losses = torch.zeros(len(batches), device=device)
    dropout = model_seed(seed, place.repeat, place.number) + state.epoch
    train_mode(state.model, config.train.frozen_norm)
    inputs, start = _training_inputs(place, state, now, batches)
    for step, batch in enumerate(inputs):
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(now, step, len(batches))
        with place.runtime.autocast():
            logits = wrapped(batch.inputs, batch.rows, dropout, start)
        losses[step] = _update(place, state.optimizer, logits, batch)
    losses = place.team.sum(losses).cpu()
    _check_finite(place, state, now, losses)
    _share_statistics(place, state.model)
    return losses, learning_rate(now, 0, len(batches))


def _training_inputs(
    place: Place, state: FoldState, now: Moment, batches: Sequence[Ints]
) -> tuple[Inputs, int]:
    """This worker's part of each global batch, and at which part of the chain its inputs enter."""
    problem, policy = place.problem, place.problem.policy
    parts = [place.team.slice(batch) for batch in batches]
    mixes = problem.mixes(now.stage)
    if not mixes and (
        (shared := _shared_inputs(place, state.model, now, state.epoch, parts)) is not None
    ):
        return shared
    seed, images = problem.config.split.seed, len(problem.images)
    table = uniform_table(seed, state.epoch, images, policy.columns)
    if mixes:
        return mixed_batches(problem, place.pixels, place.team, table, batches), 0
    looks = (
        Batch(rows, augment(pixels, table[part], policy, problem.size))
        for part, (rows, pixels) in zip(parts, place.pixels.batches(parts), strict=True)
    )
    return looks, 0


def _plain_inputs(
    place: Place, model: Classifier, now: Moment, parts: Sequence[Ints]
) -> tuple[Inputs, int]:
    """The same for the plain view."""
    if (shared := _shared_inputs(place, model, now, PLAIN, parts)) is not None:
        return shared
    size = place.problem.size
    images = place.pixels.batches(parts)
    return (Batch(rows, to_input(pixels, size)) for rows, pixels in images), 0


def _shared_inputs(
    place: Place, model: Classifier, now: Moment, epoch: int, parts: Sequence[Ints]
) -> tuple[Inputs, int] | None:
    """Outputs of the frozen front in a view as inputs, if somebody has computed them."""
    problem = place.problem
    depth = front_depth(model, problem.stages, now.index, problem.config.train.frozen_norm)
    outputs = place.shared(View(epoch, depth)) if depth else None
    return None if outputs is None else (_given_out(outputs, place.runtime.device, parts), depth)


def _given_out(outputs: Tensor, device: torch.device, parts: Sequence[Ints]) -> Inputs:
    """Shared outputs batch by batch: all of them on the device at once, unless they are many."""
    here = outputs.to(device) if outputs.nbytes <= AT_ONCE else outputs
    for rows, part in zip(rows_on(device, parts), parts, strict=True):
        chosen = rows if here.device == rows.device else torch.from_numpy(part)
        yield Batch(rows, here[chosen].to(device, non_blocking=True))


def _update(place: Place, optimizer: torch.optim.Optimizer, logits: Tensor, batch: Batch) -> Tensor:
    """One update; returns this worker's share of the global batch's mean loss."""
    loss = _losses(place, logits, batch).sum() / place.problem.config.train.batch_size
    optimizer.zero_grad(set_to_none=True)
    # DDP averages over the workers, whose slices may differ in size
    torch.autograd.backward(loss * place.team.size)
    optimizer.step()
    return loss.detach()


def _losses(place: Place, logits: Tensor, batch: Batch) -> Tensor:
    """Loss (B,) of each image; of a mixed one as a blend of those for its two labels."""

    def entropy(rows: Tensor) -> Tensor:
        smoothing = place.problem.config.train.label_smoothing
        return nn.functional.cross_entropy(
            logits.float(), place.labels[rows], label_smoothing=smoothing, reduction="none"
        )

    losses = entropy(batch.rows)
    if batch.partners is None or batch.shares is None:
        return losses
    return torch.lerp(entropy(batch.partners), losses, batch.shares)


def _share_statistics(place: Place, model: Classifier) -> None:
    """Average the batch norm statistics that each worker kept: the team validates one model."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            for buffer in (module.running_mean, module.running_var):
                if buffer is not None and place.team.size > 1:
                    place.team.sum(buffer).div_(place.team.size)


def _check_finite(place: Place, state: FoldState, now: Moment, losses: Tensor) -> None:
    """Stop the fold at a loss that is not finite, naming its likely cause."""
    bad = (~torch.isfinite(losses)).nonzero()
    if not len(bad):
        return
    step = int(bad[0])
    before = float(losses[step - 1]) if step else math.nan
    raise DivergenceError(
        f"the loss became {float(losses[step])} at epoch {state.epoch + 1}, step {step + 1} "
        f"(the step before: {before:.4g}; {_cause(place, now)}"
    )


def _cause(place: Place, now: Moment) -> str:
    """The likely cause of a divergence and its remedy, as the end of a message."""
    precision = place.runtime.precision
    return (
        f"learning rate {now.stage.learning_rate:g}, precision {precision}): lower the learning "
        f"rate of stage {now.index + 1} in --stages"
        + (", or use --precision fp32" if precision != "fp32" else "")
    )


def validate(place: Place, state: FoldState, now: Moment) -> Floats:
    """Logits (V, C) of the validation part in its plain view.

    Raises
    ------
    DivergenceError
        They are no finite numbers: the last step broke the network, and no loss has told.
    """
    logits = _predict(place, state.model, now)
    if not np.isfinite(logits).all():
        raise DivergenceError(
            f"the network's output is no finite number after epoch {state.epoch + 1} "
            f"({_cause(place, now)}"
        )
    return logits


@torch.inference_mode()
def _predict(place: Place, model: Classifier, now: Moment) -> Floats:
    """Logits (V, C) of the validation part in its plain view, the work shared by the team."""
    problem, device = place.problem, place.runtime.device
    model.eval()
    mine = place.team.slice(place.held_out)
    batch = max(WIDER * problem.config.train.batch_size // place.team.size, 1)
    inputs, start = _plain_inputs(
        place, model, now, [mine[first : first + batch] for first in range(0, len(mine), batch)]
    )
    outputs = [torch.zeros(0, len(problem.images.class_names), device=device)]
    for images in inputs:
        with place.runtime.autocast():
            outputs.append(model(images.inputs, start=start).float())
    return place.team.gather(torch.cat(outputs), len(place.held_out)).cpu().numpy()
