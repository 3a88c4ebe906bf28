"""Which images make up each global batch, and which part of it a worker takes.

Everything here is a function of seeds and counts, so it is the same for 1 worker and for 8, and
after a restart.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# streams of one seed that never meet
_ORDER, _TABLE, _MODEL, _DRAW, _SECOND, SUBSET = 1, 2, 3, 4, 5, 6


def stream(seed: int, purpose: int, *numbers: int) -> np.random.Generator:
    """Counter-based random stream (Philox) for one purpose."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, purpose, *numbers])))


def uniform_table(
    seed: int, epoch: int, rows: int, columns: int, *, repeat: int = 0, second: bool = False
) -> NDArray[np.float32]:
    """Draw the table of uniform numbers that decides an epoch's augmentation.

    Parameters
    ----------
    repeat : int
        Whose table; that of repeat 0 is the one that all repeats can share.
    second : bool
        The table of another view of each image, for ``--consistency``.

    Returns
    -------
    ndarray of float32, shape (rows, columns)
        In [0, 1). Row i belongs to image i of the whole image set: folds share it. Rows beyond
        these belong to the repetitions of `epoch_draws`.

    Notes
    -----
    Row i does not depend on the number of rows, nor on folds, workers or batches.
    """
    random = stream(seed, _SECOND if second else _TABLE, epoch, *_own(repeat))
    return random.random((rows, columns), dtype=np.float32)


def _own(repeat: int) -> tuple[int, ...]:
    """What tells the streams of a repeat from those of the others; repeat 0 needs nothing."""
    return (repeat,) if repeat else ()


def model_seed(seed: int, repeat: int, fold: int) -> int:
    """Seed of a fold's random weights and dropout."""
    return int(stream(seed, _MODEL, repeat, fold).integers(2**31))


def epoch_draws(
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    targets: NDArray[np.int64],
    *,
    seed: int,
    epoch: int,
    repeat: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw the images of an epoch, so many of each class.

    Parameters
    ----------
    rows : ndarray of int64, shape (T,)
        The training part, in ascending order.
    labels : ndarray of int64, shape (N,)
        Of all images; those outside of `rows` do not matter.
    targets : ndarray of int64, shape (C,)
        How many of each class.

    Returns
    -------
    draws : ndarray of int64, shape (targets.sum(),)
        Numbers of the draws, each once: an image's first draw has the number of its row, further
        ones are numbered from N on.
    row : ndarray of int64, shape (N + repetitions,)
        The image of each draw, by number.

    Notes
    -----
    - of n images of a class with target t each comes t / n times, rounded down or up; which of
      them up is drawn anew each epoch of each repeat;
    - where the targets are the counts, the draws are `rows`.
    """
    first, again = [], []
    for label, target in enumerate(targets.tolist()):
        members = rows[labels[rows] == label]
        order = stream(seed, _DRAW, epoch, label, *_own(repeat)).permutation(members)
        times, rest = divmod(target, max(len(members), 1))
        chosen = np.concatenate([np.tile(members, times), order[:rest]])
        first.append(chosen[: len(members)])
        again.append(chosen[len(members) :])
    repeated = np.concatenate(again)
    numbers = len(labels) + np.arange(len(repeated))
    row = np.concatenate([np.arange(len(labels)), repeated])
    return np.concatenate([np.sort(np.concatenate(first)), numbers]), row


def epoch_batches(
    rows: NDArray[np.int64], batch_size: int, *, seed: int, epoch: int, repeat: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Shuffle training rows, or draws, and cut them into global batches of equal size.

    Yields
    ------
    ndarray of int64, shape (batch_size,)
        ``len(rows) // batch_size`` of them; the rest of this epoch's order is left out, another
        rest each epoch of each repeat.
    """
    order = rows[stream(seed, _ORDER, epoch, *_own(repeat)).permutation(len(rows))]
    for first in range(0, len(order) - batch_size + 1, batch_size):
        yield order[first : first + batch_size]


def worker_slice(batch: NDArray[np.int64], rank: int, workers: int) -> NDArray[np.int64]:
    """The part of a global batch that one worker takes; sizes differ by at most one."""
    return np.array_split(batch, workers)[rank]
