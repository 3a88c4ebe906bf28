"""A lane: one Ray Train worker group through which folds flow one after another."""

import socket
import time
import uuid
from dataclasses import dataclass, replace
from typing import Any

import ray
import torch
import torch.distributed as dist
from ray.actor import ActorHandle

from distributed.data.localize import localize
from distributed.lanes.frozen_features import compute_frozen_features
from distributed.lanes.ledger import Claim
from distributed.lanes.preemption import TakenAway
from distributed.lanes.trainer import make_trainer
from distributed.planning.plan import Plan
from folds.errors import DivergenceError, RunError, UserError, reason
from folds.model.bundle import bundle_files
from folds.runtime.cpu import keep_memory
from folds.runtime.device import Runtime
from folds.runtime.memory import free_memory, out_of_memory
from folds.runtime.probe import probe
from folds.runtime.trial import Trial
from folds.runtime.workers import Workers
from folds.training.curve import without_shift
from folds.training.fit import fit_fold
from folds.training.frozen import FrozenFeatures, no_frozen_features
from folds.training.parts import smaller
from folds.training.problem import Problem
from folds.training.result import FoldResult
from folds.training.retries import divergence_cause, memory_cause, one_image_cause
from tracking.events import EpochEnded, Started

_WAIT_S = 0.1  # between two questions


@dataclass(frozen=True)
class Lane:
    """What the workers of a lane are given.

    Parameters
    ----------
    number : int
        From 0.
    problem : ObjectRef
        Of a `folds.training.problem.Problem`, in the object store once a node.
    ledger : ActorHandle
        The `distributed.lanes.ledger.Ledger`.
    plan : Plan
        Device and threads.
    runtime : Runtime
        Precision, layout and compilation, the same for all folds.
    trial : Trial, optional
        How to find the fastest of those, where it is not known yet; they are then what to begin
        with.
    """

    number: int
    problem: Any
    ledger: ActorHandle
    plan: Plan
    runtime: Runtime
    trial: Trial | None = None


@dataclass(frozen=True)
class _Failure:
    """Why a fold has ended that can be tried otherwise; it holds nothing of the fold."""

    cause: str
    memory: bool


def run_lane(lane: Lane, *, storage: str, name: str, grows: bool = True) -> None:
    """Start the workers of a lane and wait until there are no folds left; blocks.

    Parameters
    ----------
    storage : str
        Folder for Ray Train's own small files.
    name : str
        Unique for each start, since Ray Train would go on from an older trainer of that name.
    grows : bool
        Whether Ray may be able to start further machines; that of one machine alone is not.

    Raises
    ------
    Exception
        What Ray raises when the workers cannot be kept alive.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    trainer = make_trainer(
        _work,
        workers=lane.plan.workers,
        backend="nccl" if lane.plan.device == "cuda" else "gloo",
        grows=grows,
        # by reference: Ray Train's own processes need not read what only workers understand
        train_loop_config={"lane": ray.put(lane)},
        scaling_config=ScalingConfig(
            num_workers=lane.plan.workers,
            use_gpu=lane.plan.device == "cuda",
            resources_per_worker=lane.plan.resources_per_worker,
        ),
        run_config=RunConfig(
            name=name, storage_path=storage, failure_config=FailureConfig(max_failures=100)
        ),
    )
    trainer.fit()


def _work(config: dict[str, Any]) -> None:
    """The loop of one worker; the ledger bounds how often a fold is tried."""
    lane: Lane = ray.get(config["lane"])
    keep_memory()
    torch.set_num_threads(lane.plan.threads)
    workers = Workers.current()
    lane = replace(lane, runtime=_runtime(lane, workers.rank))
    problem = localize(ray.get(lane.problem))
    frozen_features = _frozen_features(lane, problem)
    while (claim := _next_claim(lane, workers)) is not None:
        failure = _train(lane, problem, claim, workers, frozen_features)
        if failure is not None:
            _try_otherwise(lane, problem, claim, workers, failure)


def _frozen_features(lane: Lane, problem: Problem) -> FrozenFeatures:
    """What all folds share; where it has no room for one image, neither has any fold."""
    try:
        return compute_frozen_features(problem, lane.runtime, lane.ledger)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        cause = one_image_cause(f"{type(error).__name__}: {reason(error)}")
    ray.get(lane.ledger.give_up.remote(cause))
    return no_frozen_features


def _runtime(lane: Lane, rank: int) -> Runtime:
    """How all folds are computed: as is known, or as the first worker of one lane measures it."""
    while lane.trial is not None:
        settings, measure = ray.get(lane.ledger.runtime.remote(lane.number if rank == 0 else None))
        if settings is not None:
            return replace(lane.runtime, **settings)
        if measure:
            found = probe(lane.trial, lane.runtime).runtime
            ray.get(lane.ledger.settle.remote(found.settings))
        else:
            time.sleep(_WAIT_S)
    return lane.runtime


def _next_claim(lane: Lane, workers: Workers) -> Claim | None:
    """Rank 0 asks, the others hear."""
    asked = lane.ledger.next_claim
    claim = ray.get(asked.remote(lane.number, uuid.uuid4().hex)) if workers.rank == 0 else None
    if workers.size == 1:
        return claim
    box = [claim]
    try:
        dist.broadcast_object_list(box, src=0)
    except Exception as error:  # the first words between the workers: a broken network shows here
        if claim is not None:
            why = f"{type(error).__name__}: {reason(error)}"
            ray.get(lane.ledger.trouble.remote(claim.task, why))
        raise
    return box[0]


def _train(
    lane: Lane, problem: Problem, claim: Claim, workers: Workers, frozen_features: FrozenFeatures
) -> _Failure | None:
    """Train a fold and hand it in; or say why it might go better otherwise."""
    ledger, task, chief = lane.ledger, claim.task, workers.rank == 0
    taken_away = TakenAway()
    whole = claim.share == 1
    torch.set_num_threads(lane.plan.threads_of(task) if whole else lane.plan.threads)
    try:
        if chief:
            _record_start(lane, problem, claim)
        result = fit_fold(
            problem if whole else without_shift(problem),
            claim.repeat,
            claim.fold,
            runtime=lane.runtime,
            workers=workers,
            frozen_features=frozen_features,
            refit=claim.refit,
            attempt=claim.attempt,
            share=claim.share,
            checkpoint=ray.get(ledger.checkpoint.remote(task)),
            checkpoint_now=taken_away,
            on_epoch=lambda report: ledger.record.remote(EpochEnded(task=task, report=report)),
            on_checkpoint=lambda content: ledger.save_checkpoint.remote(task, content),
        )
    except DivergenceError as error:
        return _Failure(str(error), memory=False)
    except UserError as error:  # on all workers alike: all go to the next fold
        if chief:
            ray.get(ledger.fail.remote(lane.number, task, str(error)))
    except Exception as error:
        if out_of_memory(error):  # what the error holds is free once it is forgotten
            return _Failure(f"{type(error).__name__}: {reason(error)}", memory=True)
        ray.get(ledger.trouble.remote(task, f"{type(error).__name__}: {reason(error)}"))
        raise
    else:
        if chief:
            bundle = _bundle(problem, result) if whole else {}
            ray.get(ledger.finish.remote(lane.number, task, result.outcome, bundle))
    return None


def _bundle(problem: Problem, result: FoldResult) -> dict[str, bytes]:
    """A finished fold's model as files."""
    card = replace(problem.card, appearance=result.appearance())
    return bundle_files(card, result.weights, problem.splits.data, result.typicality())


def _try_otherwise(
    lane: Lane, problem: Problem, claim: Claim, workers: Workers, failure: _Failure
) -> None:
    """Have a fold handed out again, with less at once or slower; or given up where that is over.

    Raises
    ------
    RunError
        One of several workers has run out of memory: the others wait for it, and only Ray can
        start all of them again.
    """
    if failure.memory:
        free_memory()
        again = smaller(problem, workers.size, claim.attempt)
        cause = memory_cause(problem, claim.attempt, again, failure.cause)
    else:  # on all workers alike
        again = claim.attempt.slower()
        cause = divergence_cause(again, failure.cause)
    if failure.memory or workers.rank == 0:
        told = lane.number, claim.task, claim.attempt, again, cause
        ray.get(lane.ledger.retry.remote(*told))
    if failure.memory and workers.size > 1:
        raise RunError(cause)


def _record_start(lane: Lane, problem: Problem, claim: Claim) -> None:
    train, held_out = problem.parts(claim.repeat, claim.fold, claim.share)
    started = Started(
        task=claim.task,
        train=len(train),
        held_out=len(held_out),
        lane=lane.number,
        host=socket.gethostname(),
        precision=lane.runtime.precision,
        balance=problem.balance(train).facts(problem.images.class_names),
    )
    lane.ledger.record.remote(started)
