"""What people are told of a fold that goes on otherwise, or no longer."""

from folds.training.attempt import SLOWEST, Attempt
from folds.training.parts import trains_batch_norm
from folds.training.problem import Problem


def memory_cause(problem: Problem, before: Attempt, again: Attempt | None, error: str) -> str:
    """One line about memory that is full, and what is done about it.

    Parameters
    ----------
    before : Attempt
        How the fold was tried.
    again : Attempt, optional
        How it is tried next, if it is.
    error : str
        What the device says.
    """
    full = f"out of memory ({error})"
    if again is None:
        if problem.config.optim.triplet:
            return f"{full}; --triplet needs whole batches: lower --batch-size or --image-size"
        parts = max(before.parts, problem.config.optim.accumulate)
        return (
            f"{full}, with as few images at once as can be trained on, in {parts} parts of "
            "a batch; lower --image-size, choose a smaller --backbone, or free memory"
        )
    norm = ", and batch norm sees only a part at once" if trains_batch_norm(problem) else ""
    return (
        f"{full}; goes on from its last checkpoint with each batch of "
        f"{problem.config.train.batch_size} computed in {again.parts} parts{norm}"
    )


def one_image_cause(error: str) -> str:
    """One line about memory that has no room for one image."""
    return (
        f"out of memory with one image ({error}); lower --image-size, choose a smaller --backbone, "
        "or free memory"
    )


def divergence_cause(again: Attempt | None, error: str) -> str:
    """One line about a loss that was no finite number, and what is done about it."""
    if again is None:
        return f"{error}; nor did {SLOWEST:g} of the learning rates help"
    return f"{error}; goes on from its last checkpoint with {again.rate:g} of the learning rates"
