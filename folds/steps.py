"""The passes over images: training batch by batch, and prediction.

Everything that touches each image is here; `folds.fit` decides which epochs there are.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from folds.augment import COLUMNS, augment, to_input
from folds.backbone import Classifier, train_mode
from folds.batches import epoch_batches, model_seed, uniform_table
from folds.checkpoint import FoldState
from folds.device import Runtime
from folds.errors import DivergenceError
from folds.evaluate import Floats, Ints
from folds.gather import Gather, as_tensor
from folds.problem import Problem
from folds.stages import Moment, learning_rate
from folds.team import Team


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


def find_place(problem: Problem, repeat: int, fold: int, runtime: Runtime, team: Team) -> Place:
    """Divide the images for a fold and put them on its device."""
    train, held_out = problem.splits.parts(repeat, fold, problem.images.ids)
    pixels = Gather(problem.images.pixels, runtime.device)
    labels = as_tensor(problem.images.labels).to(runtime.device)
    return Place(problem, repeat, fold, runtime, team, pixels, labels, train, held_out)


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
    """
    config, device = place.problem.config, place.runtime.device
    seed, size = config.split.seed, config.train.batch_size
    table = uniform_table(seed, state.epoch, len(place.pixels), COLUMNS)
    batches = list(epoch_batches(place.train, size, seed=seed, epoch=state.epoch))
    losses = torch.zeros(len(batches), device=device)
    train_mode(state.model, config.train.frozen_norm)
    slices = map(place.team.slice, batches)
    for step, (mine, pixels) in enumerate(place.pixels.batches(slices)):
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(now, step, len(batches))
        rows = torch.from_numpy(mine).to(device)
        numbers = torch.from_numpy(table[mine]).to(device)
        image = augment(pixels, numbers, config.augment, place.problem.size)
        loss = _step(place, state, wrapped, image, rows)
        losses[step] = loss.detach()
    losses = place.team.sum(losses).cpu()
    _check_finite(place, state, now, losses)
    _share_statistics(place, state.model)
    return losses, learning_rate(now, 0, len(batches))


def _step(
    place: Place, state: FoldState, wrapped: nn.Module, image: Tensor, rows: Tensor
) -> Tensor:
    """One update; returns this worker's share of the global batch's mean loss."""
    config = place.problem.config
    with place.runtime.autocast():
        logits = wrapped(image, rows, _dropout_seed(place, state.epoch))
    total = nn.functional.cross_entropy(
        logits.float(),
        place.labels[rows],
        label_smoothing=config.train.label_smoothing,
        reduction="sum",
    )
    loss = total / config.train.batch_size
    state.optimizer.zero_grad(set_to_none=True)
    # DDP averages over the workers, whose slices may differ in size
    torch.autograd.backward(loss * place.team.size)
    state.optimizer.step()
    return loss


def _share_statistics(place: Place, model: Classifier) -> None:
    """Average the batch norm statistics that each worker kept: the team validates one model."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            for buffer in (module.running_mean, module.running_var):
                if buffer is not None and place.team.size > 1:
                    place.team.sum(buffer).div_(place.team.size)


def _dropout_seed(place: Place, epoch: int) -> int:
    return model_seed(place.problem.config.split.seed, place.repeat, place.number) + epoch


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
    logits = _predict(place, state.model, place.held_out)
    if not np.isfinite(logits).all():
        raise DivergenceError(
            f"the network's output is no finite number after epoch {state.epoch + 1} "
            f"({_cause(place, now)}"
        )
    return logits


@torch.inference_mode()
def _predict(place: Place, model: Classifier, rows: Ints) -> Floats:
    """Logits (len(rows), C) of images in their plain view, the work shared by the team."""
    model.eval()
    mine = place.team.slice(rows)
    batch = max(4 * place.problem.config.train.batch_size // place.team.size, 1)
    classes = len(place.problem.images.class_names)
    parts = [torch.zeros(0, classes, device=place.runtime.device)]
    runs = (mine[first : first + batch] for first in range(0, len(mine), batch))
    for _, pixels in place.pixels.batches(runs):
        image = to_input(pixels, place.problem.size)
        with place.runtime.autocast():
            parts.append(model(image).float())
    return place.team.gather(torch.cat(parts), len(rows)).cpu().numpy()
