"""How many images of a batch are computed at once, and who cannot learn from so few."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from folds.config import Config
from folds.errors import UserError
from folds.model.backbone import Classifier, build
from folds.model.layer_groups import BatchNorm, train_mode, unfreeze
from folds.runtime.memory import out_of_memory
from folds.training.attempt import Attempt
from folds.training.problem import Problem


def at_once(config: Config) -> int:
    """Images of the smallest part of a batch that all workers of a fold compute together."""
    return config.train.batch_size // config.optim.accumulate


def check_parts(problem: Problem, workers: int) -> None:
    """Refuse a batch that is cut into parts that cannot be trained on.

    Parameters
    ----------
    workers : int
        Workers that share a fold.

    Raises
    ------
    UserError
        A worker would have no image of some part; or batch norm one value of each feature, which
        has no spread.
    """
    config, together = problem.config, at_once(problem.config)
    batch, parts = config.train.batch_size, config.optim.accumulate
    fewer_parts = ", lower --accumulate" if parts > 1 else ""
    cut = f"--batch-size {batch}, --accumulate {parts} and --workers-per-fold {workers}"
    if workers > together:
        raise UserError(
            f"{cut}: {together} images at once are fewer than the workers; raise --batch-size"
            f"{fewer_parts}, or lower --workers-per-fold"
        )
    alone = together if config.cluster.sync_bn else together // workers
    if alone > 1 or _learns_from_one_image(problem):
        return
    fewer_workers = ", lower --workers-per-fold" if workers > 1 else ""
    fewer_workers += ", set --sync-bn" if alone < together else ""
    head = config.model.head_norm == "batch"
    norm = "--head-norm batch" if head else f"--backbone {config.model.backbone}: its batch norm"
    other = "--head-norm layer" if head else "another --backbone"
    raise UserError(
        f"{norm} has nothing to normalise by in one image, which is what {cut} let it see at once; "
        f"raise --batch-size{fewer_parts}{fewer_workers}, or use {other}"
    )


def smaller(problem: Problem, workers: int, attempt: Attempt) -> Attempt | None:
    """The next attempt after one that ran out of memory: half as many images at once.

    Returns
    -------
    Attempt or None
        None where a worker has just one image of each part, or two where batch norm needs them; or
        where a batch may not be cut (``--triplet``).
    """
    config = problem.config
    batch, now = config.train.batch_size, max(config.optim.accumulate, attempt.parts)
    together = config.cluster.sync_bn and workers > 1
    try:
        fewest = workers if together or _learns_from_one_image(problem) else 2 * workers
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return None  # it passed one image through the network
    parts = min(2 * now, batch // fewest)
    if parts <= now or config.optim.triplet:
        return None
    return replace(attempt, parts=parts)


def trains_batch_norm(problem: Problem) -> bool:
    """Whether batch norm learns from the images that it sees at once, in any stage."""
    return any(
        isinstance(part, BatchNorm) and part.training
        for model in _in_each_stage(problem)
        for part in model.modules()
    )


def _in_each_stage(problem: Problem) -> Iterator[Classifier]:
    """One network with random weights, as each stage trains it."""
    model = build(
        problem.backbone, classes=len(problem.images.class_names), size=problem.size,
        dropout=0.0, pretrained=None, seed=0, head=problem.config.model.head,
    )  # fmt: skip
    for stage in problem.stages:
        unfreeze(model, stage)
        train_mode(model, stage, problem.config.train.frozen_norm)
        yield model


@torch.no_grad()
def _learns_from_one_image(problem: Problem) -> bool:
    """Whether batch norm that trains has more than one value of each feature in one image."""
    for model in _in_each_stage(problem):
        try:
            model(torch.zeros(1, 3, problem.size, problem.size))
        except ValueError:  # torch's batch norm: "Expected more than 1 value per channel"
            return False
    return True
