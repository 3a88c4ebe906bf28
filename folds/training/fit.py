"""Training one fold, stage after stage and epoch after epoch, until its result.

`fit_fold` is all a caller needs; what travels out is `EpochReport` (each epoch) and `FoldResult`.
An epoch passes over the training part once (`folds.training.epoch`) and over the validation part
once, with ``--ema`` twice (`folds.training.validate`); the weights of the best epoch so far are
kept on the CPU, and at the end they are scored in every way that was asked for.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from folds.arrays import Floats
from folds.config.stages import StagePosition, shortened, stage_position, total_epochs
from folds.evaluation.metrics import quick_scores
from folds.model.backbone import build
from folds.model.layer_groups import forget_frozen, unfreeze
from folds.runtime.device import Runtime
from folds.runtime.sync_batch_norm import synchronise
from folds.runtime.workers import Workers, summed
from folds.sampling import model_seed
from folds.training.attempt import FIRST, Attempt
from folds.training.checkpoint import FoldState, dump, on_cpu, restore
from folds.training.context import FoldContext, fold_context
from folds.training.ema import averaged, first_average
from folds.training.epoch import train_epoch
from folds.training.frozen import FrozenFeatures, no_frozen_features
from folds.training.losses import fresh_factor
from folds.training.optim import make_optimizer
from folds.training.outcome import EpochReport, best_epoch
from folds.training.parts import check_parts
from folds.training.predict import predict_logits
from folds.training.problem import Problem
from folds.training.refit import RefitPlan
from folds.training.result import FoldResult, fold_result
from folds.training.validate import selection_score
from folds.training.wise_ft import interpolated


class Candidate(NamedTuple):
    """Weights that an epoch may be remembered by: the model's own, or their moving average.

    Parameters
    ----------
    weights : dict of str to Tensor
        As a ``state_dict``; still those that training goes on with, or with ``--wise-ft`` between
        these and the anchor.
    logits : ndarray of float32, shape (V, C)
        Of the validation part.
    score : float
        Value of ``--select-by``; larger is better.
    """

    weights: dict[str, Tensor]
    logits: Floats
    score: float


Candidates = dict[str, Candidate]  # by the prefix of their scores in a report: val, ema


def fit_fold(
    problem: Problem,
    repeat: int,
    fold: int,
    *,
    runtime: Runtime,
    workers: Workers | None = None,
    frozen_features: FrozenFeatures = no_frozen_features,
    refit: RefitPlan | None = None,
    attempt: Attempt = FIRST,
    share: float = 1.0,
    checkpoint: bytes | None = None,
    on_epoch: Callable[[EpochReport], None] = lambda report: None,
    on_checkpoint: Callable[[bytes], None] | None = None,
    checkpoint_now: Callable[[], bool] = lambda: False,
) -> FoldResult:
    """Train and validate one fold.

    Parameters
    ----------
    problem : Problem
        What all folds share.
    repeat, fold : int
        Which fold; the number of folds stands for none of them, which trains on all images.
    runtime : Runtime
        Device and precision.
    workers : Workers, optional
        The workers that share the fold; all of them call this function. Default: alone.
    frozen_features : callable
        Gives the outputs of the backbone's frozen front for a view of all images, or None where
        nobody has computed them; see `folds.training.frozen`.
    refit : RefitPlan, optional
        How long to train on all images, and at what rates; needed where nothing is left to
        validate by.
    attempt : Attempt
        In how many parts a batch is computed, and at what share of the learning rates.
    share : float
        Of the training part, above 0, at most 1; see `folds.training.problem.Problem.parts`.
    checkpoint : bytes, optional
        What `on_checkpoint` was given last, to go on from there.
    on_epoch, on_checkpoint : callable
        Called on rank 0 after each epoch, and every ``checkpoint_every`` epochs. What `on_epoch`
        raises ends the fold.
    checkpoint_now : callable
        Asked on rank 0 after each epoch: whether a checkpoint is due in any case.

    Returns
    -------
    FoldResult

    Raises
    ------
    DivergenceError
        The loss is no finite number; on all workers alike.
    UserError
        Batches are cut into too small parts, see `folds.training.parts.check_parts`.

    Notes
    -----
    - a fold that goes on from a checkpoint ends as one that was never interrupted;
    - the number of parts changes a result by rounding alone, unless batch norm trains.
    """
    if refit is not None:
        problem = replace(problem, stages=shortened(problem.stages, refit.epochs))
    workers = workers or Workers.current()
    check_parts(problem, workers.size)
    context = fold_context(
        problem, repeat, fold, runtime, workers, frozen_features, refit, attempt, share
    )
    state = first_state(context)
    if checkpoint is not None:
        restore(state, checkpoint)
    stages, wrapped, staged = problem.stages, None, -1
    while state.epoch < total_epochs(stages) and not _patience_over(context, state):
        position = stage_position(stages, state.epoch)
        if wrapped is None or position.index != staged:
            wrapped, staged = enter_stage(context, state, position), position.index
        report = _epoch(context, state, wrapped, position)
        if context.workers.rank == 0:
            on_epoch(report)
            due = _checkpoint_due(context, state, position) or checkpoint_now()
            if on_checkpoint is not None and due:
                on_checkpoint(dump(state))
    return fold_result(context, state)


def _checkpoint_due(context: FoldContext, state: FoldState, position: StagePosition) -> bool:
    """Whether to write a checkpoint: a head alone is quicker trained again than written."""
    if context.frozen_features is not no_frozen_features and position.stage.share == 0:
        return position.epoch == position.stage.epochs - 1
    return state.epoch % context.problem.config.cluster.checkpoint_every == 0


def first_state(context: FoldContext) -> FoldState:
    """The state before the first epoch, on the device; the same on all workers."""
    problem = context.problem
    config = problem.config
    fold = 0 if config.model.common_head else context.number
    model = build(
        problem.backbone,
        classes=len(problem.images.class_names),
        size=problem.size,
        dropout=config.model.dropout,
        pretrained=problem.pretrained,
        seed=model_seed(config.split.seed, context.repeat, fold),
        head=config.model.head,
        drop_path=config.model.drop_path,
        lora=config.model.lora,
    )
    context.runtime.place(model)
    if config.cluster.sync_bn and context.workers.size > 1:
        synchronise(model, context.workers)
    optimizer = make_optimizer(
        model, config, learning_rate=max(stage.learning_rate for stage in problem.stages)
    )
    average = first_average(model) if config.optim.ema else None
    return FoldState(model, optimizer, average, scaler=context.runtime.scaler())


def enter_stage(context: FoldContext, state: FoldState, position: StagePosition) -> nn.Module:
    """Freeze and unfreeze, then wrap anew: DDP fixes at its start what it reduces."""
    model = state.model
    first = position.stage.share > 0 and state.anchor is None
    if first and context.problem.config.optim.wise_ft < 1:
        state.anchor = first_average(model)
    unfreeze(model, position.stage)
    forget_frozen(state.optimizer)
    model.zero_grad(set_to_none=True)
    if context.workers.size == 1:
        return context.runtime.wrap(model)
    # batch-norm statistics are averaged at the end of an epoch instead
    together = DistributedDataParallel(model, broadcast_buffers=False)
    together.register_comm_hook(None, summed)
    return context.runtime.wrap(together)


def _patience_over(context: FoldContext, state: FoldState) -> bool:
    """Whether the last stage has gone on long enough without a better epoch."""
    last_stage = total_epochs(context.problem.stages[:-1])
    if state.epoch <= last_stage:
        return False
    since = max(best_epoch(state.history) + 1, last_stage)
    return state.epoch - since >= context.problem.config.train.patience


def _epoch(
    context: FoldContext,
    state: FoldState,
    wrapped: nn.Module,
    position: StagePosition,
) -> EpochReport:
    """One pass over the training part and one over the validation part; updates the state."""
    config = context.problem.config
    start = time.perf_counter()
    losses, rate = train_epoch(context, state, wrapped, position)
    seconds = time.perf_counter() - start
    candidates = (
        _validated(context, state, position)
        if context.refit is None
        else _unvalidated(context, state, context.refit)
    )
    labels = context.problem.images.labels[context.held_out]
    scores = {
        f"{kind}_{name}": value
        for kind, candidate in candidates.items()
        for name, value in quick_scores(labels, candidate.logits).items()
    }
    classes = len(context.problem.images.class_names)
    choice = config.evaluation.choose_epoch if context.refit is None else "last"
    if choice == "best" or context.refit is not None:
        kind = max(candidates, key=lambda kind: candidates[kind].score)  # of equals the first
    else:  # to choose between the weights and their average by these images would flatter
        kind = list(candidates)[-1]
    chosen = candidates[kind]
    report = EpochReport(
        epoch=state.epoch,
        stage=position.index,
        train_loss=float(losses.mean()),
        first_loss=float(losses[0]) / fresh_factor(config, classes),
        learning_rate=rate,
        images_per_second=len(losses) * config.train.batch_size / seconds,
        seconds=time.perf_counter() - start,
        score=chosen.score,
        averaged=kind == "ema",
        **scores,
    )
    state.history.append(report)
    if choice == "last" or best_epoch(state.history) == state.epoch:
        state.kept_epoch, state.kept_logits = state.epoch, torch.from_numpy(chosen.logits)
        # those that training has reached are at hand in the end
        if choice != "last" or state.anchor is not None:
            state.kept_weights = on_cpu(chosen.weights)
    if choice == "crossfit":
        state.epoch_logits.append(torch.from_numpy(chosen.logits).half())
    state.epoch += 1
    return report


def _unvalidated(context: FoldContext, state: FoldState, refit: RefitPlan) -> Candidates:
    """The weights that may be kept where nothing is validated: each epoch beats those before.

    Of one epoch the average beats the weights, if there is one and the plan prefers it.
    """
    nothing = np.zeros((0, len(context.problem.images.class_names)), np.float32)
    latest = float(state.epoch)
    kept = interpolated(context, state, state.model.state_dict())
    candidates = {"val": Candidate(kept, nothing, latest)}
    if refit.averaged and state.average is not None:
        kept = interpolated(context, state, state.average)
        candidates["ema"] = Candidate(kept, nothing, latest + 0.5)
    return candidates


def _validated(context: FoldContext, state: FoldState, position: StagePosition) -> Candidates:
    """The weights that may be kept: ``val``, and ``ema`` where there is an average."""

    def candidate(weights: dict[str, Tensor]) -> Candidate:
        kept = interpolated(context, state, weights)
        with averaged(state.model, kept):
            logits = predict_logits(context, state, position, context.held_out)
            return Candidate(kept, logits, selection_score(context, state.model, logits))

    candidates = {"val": candidate(state.model.state_dict())}
    if state.average is not None:
        candidates["ema"] = candidate(state.average)
    return candidates
