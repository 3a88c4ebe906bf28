"""What a plan costs: seconds by part, and memory, from the measured rates of one worker.

A model of a few lines and no more: it ranks plans and tells people how long to wait. What it
leaves out: early stopping, other jobs on the machine, and bringing the images to the nodes.
"""

import math
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from distributed.planning.plan import Plan
from folds.config.stages import Stage

if TYPE_CHECKING:
    from folds.runtime.trial import Rates

# Measured on a shared machine of 2 cores without a GPU; see LOG.md for the machine.
START_S = 25.0  # Ray, its workers, and torch imported in each of them: command to first step
FINISH_S = 5.0  # pooling the predictions, registering, the summary
FOLD_S = 1.0  # a fold's network made, its best weights sent and written
RECORD_S = 0.4  # a finished fold's model and two pictures into MLflow (sqlite), one fold at a time
SHIFT_VIEW = 2.0  # a corrupted image corrupted and seen, in forward passes of an image
HEAD_S = 5e-6  # one image's step of the head alone, from features in memory

# Assumed, not measured on many machines.
TEAM_EFFICIENCY = 0.9  # speed of W > 1 DDP workers, as share of W times one worker's
THREAD_GAIN = 0.7  # of each further core, as share of the first; 0.5 to 0.9 in LOG.md's table


@dataclass(frozen=True)
class Work:
    """What is to be trained.

    Parameters
    ----------
    images : int
        N, all of them.
    train_rows, held_out_rows : int
        Images that a fold trains on in an epoch, and those of its validation part.
    tasks : int
        Folds times repeats.
    stages : tuple of Stage
        The schedule.
    shared : bool
        Whether the features of the frozen epochs are computed once for all folds.
    image_bytes : int
        Bytes of all images in memory.
    shift_views : int
        Corrupted images that each fold's model is scored on.
    passes : int
        Of an image through the network and back in an epoch in which the backbone trains.
    curve : float
        Sum of the shares of their training parts that the folds are trained on as well.
    """

    images: int
    train_rows: int
    held_out_rows: int
    tasks: int
    stages: tuple[Stage, ...]
    shared: bool
    image_bytes: int
    shift_views: int = 0
    passes: int = 1
    curve: float = 0.0

    def steps(self, batch_size: int) -> int:
        """Training steps of all folds together, in batches of so many images."""
        epochs = sum(stage.epochs for stage in self.stages)
        return self.tasks * epochs * max(1, self.train_rows // batch_size)


@dataclass(frozen=True)
class Estimate:
    """What a plan is expected to cost.

    Parameters
    ----------
    start, shared, training, finish : float
        Seconds: until the workers are ready; computing the frozen features that all folds share;
        until the last fold is trained; and from then to the end.
    worker_bytes : int
        Memory of one worker, with a copy of the images.
    device_bytes : int
        Memory of the fullest GPU; without GPUs of all workers, which share one copy of the
        images on a node.
    """

    start: float
    shared: float
    training: float
    finish: float
    worker_bytes: int
    device_bytes: int

    @property
    def total(self) -> float:
        """Seconds from the command to its end."""
        return self.start + self.shared + self.training + self.finish


def estimate(plan: Plan, work: Work, rates: "Rates") -> Estimate:
    """Estimate the cost of a plan.

    Parameters
    ----------
    plan : Plan
        How the work is laid out.
    work : Work
        What is done; of as many tasks as the plan.
    rates : Rates
        Of one worker with ``plan.threads`` cores, its neighbours at work.

    Raises
    ------
    ValueError
        The plan is for another number of tasks.

    Notes
    -----
    - More devices are never slower, unless lanes share a GPU.
    - A shorter schedule is never slower.
    """
    if plan.tasks != work.tasks:
        raise ValueError(f"a plan for {plan.tasks} tasks, and work of {work.tasks}")
    training, recorded = _rounds(plan, work, rates)
    worker = rates.step_bytes + work.image_bytes
    lanes = min(plan.lanes, plan.lanes_per_gpu)
    everywhere = work.image_bytes + plan.lanes * plan.workers * rates.step_bytes
    return Estimate(
        start=START_S,
        shared=shared_seconds(plan, work, rates),
        training=training,
        finish=recorded - training + FINISH_S,
        worker_bytes=worker,
        device_bytes=lanes * worker if plan.device == "cuda" else everywhere,
    )


def _rounds(plan: Plan, work: Work, rates: "Rates") -> tuple[float, float]:
    """Seconds until all folds are trained, and until all are recorded."""
    now = recorded = 0.0
    for first in range(0, plan.tasks, plan.lanes):
        folds = range(first, min(first + plan.lanes, plan.tasks))
        now += fold_seconds(plan, folds[-1], work, rates)  # no other has fewer cores
        recorded = max(recorded, now) + len(folds) * RECORD_S
    now += work.curve * plan.tasks / plan.lanes * fold_seconds(plan, 0, work, rates)
    return now, max(now, recorded)


def fold_seconds(plan: Plan, task: int, work: Work, rates: "Rates") -> float:
    """Seconds that a lane spends on a fold."""
    shift = SHIFT_VIEW * work.shift_views / rates.forward
    return FOLD_S + (sum(epoch_seconds(work, rates)) + shift) / lane_speed(plan, task, rates)


def lane_speed(plan: Plan, task: int, rates: "Rates") -> float:
    """Speed of a lane at a fold, as multiple of one undisturbed worker's."""
    workers = plan.workers * TEAM_EFFICIENCY if plan.workers > 1 else 1.0
    cores = 1 + THREAD_GAIN * (plan.threads_of(task) / plan.threads - 1)
    crowd = max(1.0, min(plan.lanes, plan.lanes_per_gpu) * rates.busy)
    return workers * cores / crowd


def epoch_seconds(work: Work, rates: "Rates") -> tuple[float, ...]:
    """Seconds of each epoch of a fold, training and validation, on one undisturbed worker."""
    shares = [stage.share for stage in work.stages for _ in range(stage.epochs)]
    from_features = shared_epochs(work)
    return tuple(
        (work.train_rows + work.held_out_rows) * HEAD_S
        if epoch < from_features
        else (work.passes if share else 1) * work.train_rows * image_seconds(share, rates)
        + work.held_out_rows / rates.forward
        for epoch, share in enumerate(shares)
    )


def image_seconds(share: float, rates: "Rates") -> float:
    """Seconds of a training step for one image when a share of the backbone is unfrozen."""
    return 1 / rates.forward + share * max(0.0, 1 / rates.train - 1 / rates.forward)


def shared_epochs(work: Work) -> int:
    """Epochs that all folds train from the same features: the frozen ones at the beginning."""
    frozen = takewhile(lambda stage: stage.share == 0, work.stages)
    return sum(stage.epochs for stage in frozen) if work.shared else 0


def shared_seconds(plan: Plan, work: Work, rates: "Rates") -> float:
    """Seconds in which all devices compute the shared features: a view an epoch and a plain one."""
    epochs = shared_epochs(work)
    views = epochs + 1 if epochs else 0
    return math.ceil(work.images / plan.devices) * views / rates.forward
