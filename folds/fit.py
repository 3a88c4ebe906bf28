"""Training one fold.

`fit_fold` is all a caller needs; what travels out is `EpochReport` (each epoch) and `FoldResult`.
"""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from folds.augment import COLUMNS, augment, to_input
from folds.backbone import Classifier, build, train_mode, unfreeze
from folds.batches import epoch_batches, model_seed, uniform_table
from folds.checkpoint import EpochReport, FoldState, dump, restore
from folds.device import Runtime
from folds.errors import DivergenceError
from folds.evaluate import Floats, Ints, better, quick_scores, scores, softmax
from folds.problem import Problem
from folds.stages import Moment, learning_rate, moment, total_epochs
from folds.team import Team


@dataclass(frozen=True)
class FoldResult:
    """A finished fold.

    Parameters
    ----------
    repeat, fold : int
        Which one.
    rows : ndarray of int64, shape (V,)
        Images of the validation part.
    probabilities : ndarray of float32, shape (V, C)
        Of the best epoch's model.
    weights : dict of str to Tensor
        The best epoch's model, on the CPU.
    history : tuple of EpochReport
        All epochs, in order.
    best_epoch : int
        From 0.
    scores : dict
        `folds.evaluate.scores` of the probabilities.
    """

    repeat: int
    fold: int
    rows: Ints
    probabilities: Floats
    weights: dict[str, Tensor]
    history: tuple[EpochReport, ...]
    best_epoch: int
    scores: dict[str, float]


@dataclass(frozen=True)
class _Fold:
    """The fixed surroundings of one fold's training."""

    problem: Problem
    repeat: int
    number: int
    runtime: Runtime
    team: Team
    pixels: Tensor
    labels: Tensor
    train: Ints
    held_out: Ints


def fit_fold(
    problem: Problem,
    repeat: int,
    fold: int,
    *,
    runtime: Runtime,
    team: Team | None = None,
    checkpoint: bytes | None = None,
    on_epoch: Callable[[EpochReport], None] = lambda report: None,
    on_checkpoint: Callable[[bytes], None] = lambda content: None,
) -> FoldResult:
    """Train and validate one fold.

    Parameters
    ----------
    problem : Problem
        What all folds share.
    repeat, fold : int
        Which fold.
    runtime : Runtime
        Device and precision.
    team : Team, optional
        The workers that share the fold; all of them call this function. Default: alone.
    checkpoint : bytes, optional
        What `on_checkpoint` was given last, to go on from there.
    on_epoch, on_checkpoint : callable
        Called on rank 0 after each epoch, and every ``checkpoint_every`` epochs.

    Returns
    -------
    FoldResult

    Raises
    ------
    DivergenceError
        The loss is no finite number; on all workers alike.

    Notes
    -----
    A fold that goes on from a checkpoint ends as one that was never interrupted.
    """
    place = _surroundings(problem, repeat, fold, runtime, team or Team.current())
    state = _first_state(place) if checkpoint is None else _restored(place, checkpoint)
    stages, wrapped, staged = problem.stages, None, -1
    while state.epoch < total_epochs(stages) and not _patience_over(place, state):
        now = moment(stages, state.epoch)
        if wrapped is None or now.index != staged:
            wrapped, staged = _enter_stage(place, state.model, now), now.index
        report = _epoch(place, state, wrapped, now)
        if place.team.rank == 0:
            on_epoch(report)
            if state.epoch % problem.config.cluster.checkpoint_every == 0:
                on_checkpoint(dump(state))
    return _result(place, state)


def _surroundings(problem: Problem, repeat: int, fold: int, runtime: Runtime, team: Team) -> _Fold:
    train, held_out = problem.splits.parts(repeat, fold, problem.images.ids)
    pixels = _tensor(problem.images.pixels).to(runtime.device)
    labels = _tensor(problem.images.labels).to(runtime.device)
    return _Fold(problem, repeat, fold, runtime, team, pixels, labels, train, held_out)


def _tensor(array: NDArray) -> Tensor:
    """View an array, which may lie in shared memory that nobody may write to (and nobody does)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)


def _first_state(place: _Fold) -> FoldState:
    problem = place.problem
    config = problem.config
    model = (
        build(
            config.model.backbone,
            classes=len(problem.images.class_names),
            size=problem.size,
            dropout=config.model.dropout,
            pretrained=problem.pretrained,
            seed=model_seed(config.split.seed, place.repeat, place.number),
        )
        .to(place.runtime.device)
        .to(memory_format=torch.channels_last)
    )
    return FoldState(model, _optimizer(model, config.train.weight_decay))


def _restored(place: _Fold, checkpoint: bytes) -> FoldState:
    state = _first_state(place)
    restore(state, checkpoint, place.runtime.device)
    return state


def _optimizer(model: Classifier, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over all parameters from the start; frozen ones have no gradient and stay put."""
    parameters = list(model.parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=0.0,
    )


def _enter_stage(place: _Fold, model: Classifier, now: Moment) -> nn.Module:
    """Freeze and unfreeze, then wrap anew: DDP fixes at its start what it reduces."""
    unfreeze(model, now.stage.share)
    model.zero_grad(set_to_none=True)
    if place.team.size == 1:
        return model
    return DistributedDataParallel(model, broadcast_buffers=False)  # see _share_statistics


def _patience_over(place: _Fold, state: FoldState) -> bool:
    """Whether the last stage has gone on long enough without a better epoch."""
    last_stage = total_epochs(place.problem.stages[:-1])
    if state.epoch <= last_stage:
        return False
    since = max(state.best_epoch + 1, last_stage)
    return state.epoch - since >= place.problem.config.train.patience


def _epoch(place: _Fold, state: FoldState, wrapped: nn.Module, now: Moment) -> EpochReport:
    """One pass over the training part and one over the validation part; updates the state."""
    metric = place.problem.config.train.metric
    start = time.perf_counter()
    losses, rate = _train_epoch(place, state, wrapped, now)
    _share_statistics(place, state.model)
    seconds = time.perf_counter() - start
    logits = _predict(place, state.model, place.held_out)
    if not np.isfinite(logits).all():  # the last step broke it: no loss of training tells
        raise DivergenceError(
            f"the network's output is no finite number after epoch {state.epoch + 1} "
            f"({_cause(place, now)}"
        )
    found = quick_scores(place.problem.images.labels[place.held_out], logits)
    report = EpochReport(
        epoch=state.epoch,
        stage=now.index,
        train_loss=float(losses.mean()),
        first_loss=float(losses[0]),
        val_loss=found["loss"],
        val_accuracy=found["accuracy"],
        val_macro_f1=found["macro_f1"],
        learning_rate=rate,
        images_per_second=len(losses) * place.problem.config.train.batch_size / seconds,
        seconds=time.perf_counter() - start,
    )
    state.history.append(report)
    if better(metric, found[metric], state.best_score):
        state.best_score, state.best_epoch = found[metric], state.epoch
        state.best_weights = {n: t.cpu().clone() for n, t in state.model.state_dict().items()}
        state.best_logits = torch.from_numpy(logits)
    state.epoch += 1
    return report


def _train_epoch(
    place: _Fold, state: FoldState, wrapped: nn.Module, now: Moment
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
    for step, batch in enumerate(batches):
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(now, step, len(batches))
        mine = place.team.slice(batch)
        rows = torch.from_numpy(mine).to(device)
        numbers = torch.from_numpy(table[mine]).to(device)
        image = augment(place.pixels[rows], numbers, config.augment, place.problem.size)
        loss = _step(place, state, wrapped, image, rows)
        losses[step] = loss.detach()
    losses = place.team.sum(losses).cpu()
    _check_finite(place, state, now, losses)
    return losses, learning_rate(now, 0, len(batches))


def _step(
    place: _Fold, state: FoldState, wrapped: nn.Module, image: Tensor, rows: Tensor
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


def _share_statistics(place: _Fold, model: Classifier) -> None:
    """Average the batch norm statistics that each worker kept: the team validates one model."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            for buffer in (module.running_mean, module.running_var):
                if buffer is not None and place.team.size > 1:
                    place.team.sum(buffer).div_(place.team.size)


def _dropout_seed(place: _Fold, epoch: int) -> int:
    return model_seed(place.problem.config.split.seed, place.repeat, place.number) + epoch


def _check_finite(place: _Fold, state: FoldState, now: Moment, losses: Tensor) -> None:
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


def _cause(place: _Fold, now: Moment) -> str:
    """The likely cause of a divergence and its remedy, as the end of a message."""
    precision = place.runtime.precision
    return (
        f"learning rate {now.stage.learning_rate:g}, precision {precision}): lower the learning "
        f"rate of stage {now.index + 1} in --stages"
        + (", or use --precision fp32" if precision != "fp32" else "")
    )


@torch.inference_mode()
def _predict(place: _Fold, model: Classifier, rows: Ints) -> Floats:
    """Logits (len(rows), C) of images in their plain view, the work shared by the team."""
    model.eval()
    mine = place.team.slice(rows)
    batch = max(4 * place.problem.config.train.batch_size // place.team.size, 1)
    classes = len(place.problem.images.class_names)
    parts = [torch.zeros(0, classes, device=place.runtime.device)]
    for first in range(0, len(mine), batch):
        chosen = torch.from_numpy(mine[first : first + batch]).to(place.runtime.device)
        image = to_input(place.pixels[chosen], place.problem.size)
        with place.runtime.autocast():
            parts.append(model(image).float())
    return place.team.gather(torch.cat(parts), len(rows)).cpu().numpy()


def _result(place: _Fold, state: FoldState) -> FoldResult:
    assert state.best_logits is not None, "a schedule has at least one epoch"
    probabilities = softmax(state.best_logits.numpy())
    return FoldResult(
        repeat=place.repeat,
        fold=place.number,
        rows=place.held_out,
        probabilities=probabilities,
        weights=state.best_weights,
        history=tuple(state.history),
        best_epoch=state.best_epoch,
        scores=scores(place.problem.images.labels[place.held_out], probabilities),
    )
