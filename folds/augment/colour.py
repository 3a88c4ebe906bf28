"""Linear colour: each operation is a matrix an image, all of them together are one.

A matrix acts on (R, G, B, mean R, mean G, mean B, 1): contrast is about the image's mean grey,
which the operations before it have moved as they moved the pixels. Made on the host, in NumPy.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from folds.arrays import Floats
from folds.augment.draws import Draw, signed

Matrices = NDArray[np.float64]
GREY = np.array([0.299, 0.587, 0.114])  # luma weights of Kornia's rgb_to_grayscale (ITU-R BT.601)
_ORDERS = np.array([np.eye(3)[list(order)] for order in itertools.permutations(range(3))])


def _of(colour: Matrices) -> Matrices:
    """Matrices (n, 7, 7) that treat the mean as the pixels, by (n, 3, 3)."""
    matrices = np.tile(np.eye(7), (len(colour), 1, 1))
    matrices[:, :3, :3] = matrices[:, 3:6, 3:6] = colour
    return matrices


def _towards_grey(factor: NDArray) -> Matrices:
    """Blend with the grey image: ``(1 - factor) grey + factor image``, (n, 3, 3)."""
    grey = np.tile(GREY, (3, 1))
    return grey + np.asarray(factor)[:, None, None] * (np.eye(3) - grey)


def brightness(numbers: Floats, max: float) -> Matrices:
    """Multiply by ``1 - max`` to ``1 + max``."""
    return _of((1 + signed(numbers, max))[:, None, None] * np.eye(3))


def contrast(numbers: Floats, max: float) -> Matrices:
    """Move pixels away from the image's mean grey, or towards it, by ``1 - max`` to ``1 + max``."""
    factor = (1 + signed(numbers, max))[:, None, None]
    matrices = _of(factor * np.eye(3))
    matrices[:, :3, 3:6] = (1 - factor) * GREY
    matrices[:, 3:6, 3:6] += (1 - factor) * GREY
    return matrices


def saturation(numbers: Floats, max: float) -> Matrices:
    """Move pixels away from their own grey, or towards it, by ``1 - max`` to ``1 + max``."""
    return _of(_towards_grey(1 + signed(numbers, max)))


def hue(numbers: Floats, max: float) -> Matrices:
    """Rotate colours about the grey axis by up to `max` turns.

    Notes
    -----
    The linear rotation, not the HSV shift of Kornia's `adjust_hue`; the two agree at multiples of
    a third of a turn. Between, hues turn equally far to within a quarter, but brightness and
    saturation move too.
    """
    angle = 2 * np.pi * signed(numbers, max)[:, None, None]
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)  # Rodrigues
    return _of(np.cos(angle) * np.eye(3) + (1 - np.cos(angle)) / 3 + np.sin(angle) * cross)


def grey(numbers: Floats, max: float) -> Matrices:
    """Let colours degenerate: up to `max` of the grey image in their place."""
    return _of(_towards_grey(1 - max * numbers[:, 0]))


def channel_shuffle(numbers: Floats) -> Matrices:
    """Permute the channels; of the six orders one is the image's own."""
    return _of(_ORDERS[np.minimum((6 * numbers[:, 0]).astype(np.int64), 5)])


def stain(numbers: Floats, max: float) -> Matrices:
    """Mix each channel with the others: every entry of the colour matrix moves by up to `max`."""
    return _of(np.eye(3) + max * (2 * numbers.reshape(-1, 3, 3) - 1))


def white_balance(numbers: Floats, max: float) -> Matrices:
    """Multiply each channel by a factor of its own, ``exp(-max)`` to ``exp(max)``.

    Another lamp or white point: in optical density a shift.
    """
    return _of(np.exp(max * (2 * numbers[:, :, None] - 1)) * np.eye(3))


def haze(numbers: Floats, max: float) -> Matrices:
    """Blend with one random colour, up to `max` of it: what stray light does."""
    share = max * numbers[:, 0]
    matrices = _of((1 - share)[:, None, None] * np.eye(3))
    matrices[:, :3, 6] = matrices[:, 3:6, 6] = share[:, None] * numbers[:, 1:]
    return matrices


OPERATIONS: Mapping[str, Callable[..., Matrices]] = {
    f.__name__: f
    for f in (
        brightness, contrast, saturation, hue, grey, channel_shuffle, stain, white_balance, haze,
    )
}  # fmt: skip


def compose(draws: Sequence[Draw], count: int) -> Matrices:
    """Matrices (B, 7, 7) of what was drawn for B images, the first operation innermost."""
    total = np.tile(np.eye(7), (count, 1, 1))
    for draw in draws:
        own = OPERATIONS[draw.op](draw.numbers, **draw.strengths)
        total[draw.rows] = own @ total[draw.rows]
    return total


def recolour(image: Tensor, draws: Sequence[Draw]) -> Tensor:
    """Apply all linear colour as one matrix and one offset an image.

    Parameters
    ----------
    image : Tensor of float32, shape (B, 3, S, S)
        In [0, 1]; the result is clamped to that, once, at the end.
    draws : sequence of Draw
        Of kind ``colour``.
    """
    if not draws:
        return image
    matrix = compose(draws, len(image))[:, :3].astype(np.float32)
    sent = torch.from_numpy(matrix).to(image.device, non_blocking=True)
    linear, about_mean, offset = torch.split(sent, [3, 3, 1], dim=2)
    flat = image.flatten(2)
    if np.any(matrix[:, :, 3:6]):
        offset = torch.baddbmm(offset, about_mean, flat.mean(dim=2, keepdim=True))
    return torch.bmm(linear, flat).add_(offset).clamp_(0, 1).view_as(image)
