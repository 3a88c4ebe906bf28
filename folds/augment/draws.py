"""What a row of the table makes of a policy: which operations act on which images.

All of this happens on the host, so that the device never has to be asked which images an
operation was drawn for.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from folds.arrays import Floats, Ints
from folds.config.policies import OPERATIONS, Entry

# strengths of ``max`` at level 30 of 30 (RandAugment) and at the most (TrivialAugment); the
# second is held back where the original would leave nothing to be recognised
RAND = {
    "rotate": 30, "shear_x": 17, "shear_y": 17, "translate_x": 0.3, "translate_y": 0.3,
    "brightness": 0.9, "contrast": 0.9, "saturation": 0.9, "sharpness": 0.9, "posterize": 4,
    "solarize": 0.8, "autocontrast": None, "equalize": None,
}  # fmt: skip
TRIVIAL = RAND | {
    "rotate": 135, "shear_x": 40, "shear_y": 40, "brightness": 0.7, "contrast": 0.7,
    "saturation": 1, "sharpness": 2, "posterize": 5, "solarize": 0.6,
}  # fmt: skip
AUG_MIX = {
    "rotate": 30, "shear_x": 17, "shear_y": 17, "translate_x": 0.3, "translate_y": 0.3,
    "posterize": 4, "solarize": 0.8, "autocontrast": None, "equalize": None,
}  # fmt: skip


@dataclass(frozen=True)
class Draw:
    """One operation and the images of a batch that it acts on.

    Parameters
    ----------
    op : str
        Of `folds.config.policies.OPERATIONS`.
    rows : ndarray of int64, shape (n,)
        Places in the batch, ascending.
    numbers : ndarray of float32, shape (n, k)
        In [0, 1); k as the operation needs.
    strengths : mapping of str to float
        The same for all images.
    """

    op: str
    rows: Ints
    numbers: Floats
    strengths: Mapping[str, float]

    @property
    def kind(self) -> str:
        """When it acts, see `folds.config.policies.KINDS`."""
        return OPERATIONS[self.op].kind


def signed(numbers: Floats, most: float) -> Floats:
    """Spread a first number over -most to most."""
    return most * (2 * numbers[:, 0] - 1)


def columns(entry: Entry) -> int:
    """Numbers of the table that a line of a policy uses."""
    match entry.op:
        case "rand_augment":
            return 1 + 2 * int(entry.strengths["n"])
        case "trivial_augment":
            return 1 + 2
        case "aug_mix":
            width, depth = int(entry.strengths["width"]), int(entry.strengths["depth"])
            return 1 + width * (2 + 2 * depth) + 1
    return 1 + OPERATIONS[entry.op].numbers


def single(entry: Entry, numbers: Floats) -> list[Draw]:
    """Draw one operation: it acts where the first number is below its probability."""
    rows = np.flatnonzero(numbers[:, 0] < entry.p)
    return [Draw(entry.op, rows, numbers[rows, 1:], entry.strengths)] if len(rows) else []


def rand_augment(entry: Entry, numbers: Floats) -> list[Draw]:
    """Draw n different operations an image, all of level m, of random sign.

    References
    ----------
    Cubuk et al., RandAugment, 2020. There the n may be equal.
    """
    rows = np.flatnonzero(numbers[:, 0] < entry.p)
    slots = numbers[rows, 1:].reshape(len(rows), int(entry.strengths["n"]), 2)
    return choice(RAND, rows, slots, level=entry.strengths["m"] / 30)


def trivial_augment(entry: Entry, numbers: Floats) -> list[Draw]:
    """Draw one operation an image, as strong as the table says.

    References
    ----------
    Mueller and Hutter, TrivialAugment, 2021.
    """
    rows = np.flatnonzero(numbers[:, 0] < entry.p)
    return choice(TRIVIAL, rows, numbers[rows, None, 1:], level=None)


def choice(
    ranges: Mapping[str, float | None],
    rows: Ints,
    slots: Floats,
    *,
    level: float | None,
    lengths: Ints | None = None,
) -> list[Draw]:
    """Draw different operations an image from some, or nothing in place of one of them.

    Parameters
    ----------
    ranges : mapping
        Operations and their ``max``.
    rows : ndarray of int64, shape (n,)
        Images.
    slots : ndarray of float32, shape (n, s, 2)
        For each of s operations one number to choose it and one for its strength.
    level : float, optional
        Strength as a share of the greatest; only the sign is random then.
    lengths : ndarray of int64, shape (n,), optional
        Slots that count, from the first; default: all.
    """
    names = list(ranges)
    chosen = different(slots[..., 0], len(names) + 1)  # the last is nothing
    if lengths is not None:
        chosen[np.arange(chosen.shape[1]) >= lengths[:, None]] = len(names)
    draws = []
    for index, name in enumerate(names):
        image, slot = np.nonzero(chosen == index)
        if not len(image):
            continue
        most, strength = ranges[name], slots[image, slot, 1]
        if level is not None:
            way = np.where(strength < 0.5, -1, 1) if OPERATIONS[name].signed else 1
            strength = (0.5 + 0.5 * level * way) if OPERATIONS[name].signed else level
        numbers = np.empty((len(image), OPERATIONS[name].numbers), np.float32)
        numbers[:, :1] = np.broadcast_to(strength, len(image))[:, None]
        draws.append(Draw(name, rows[image], numbers, {} if most is None else {"max": most}))
    return draws


def different(numbers: Floats, options: int) -> Ints:
    """Choose different options, all choices equally likely.

    Parameters
    ----------
    numbers : ndarray of float32, shape (n, s)
        In [0, 1).
    options : int
        At least s.

    Returns
    -------
    ndarray of int64, shape (n, s)
    """
    chosen = np.zeros(numbers.shape, np.int64)
    for slot in range(numbers.shape[1]):
        left = options - slot
        pick = np.minimum((numbers[:, slot] * left).astype(np.int64), left - 1)
        for earlier in np.sort(chosen[:, :slot], axis=1).T:  # step over what is taken
            pick += pick >= earlier
        chosen[:, slot] = pick
    return chosen


def chains(entry: Entry, numbers: Floats) -> tuple[list[list[Draw]], Floats, Ints]:
    """Draw AugMix: chains of one to ``depth`` operations, and how they are mixed.

    Returns
    -------
    chains : list of list of Draw
        ``width`` of them; rows count within the images returned last.
    weights : ndarray of float32, shape (n, 1 + width)
        Of the image itself and of each chain; rows sum to 1.
    rows : ndarray of int64, shape (n,)
        Images that are mixed.

    Notes
    -----
    Weights of the chains are Dirichlet(1, ..., 1): exponential numbers, divided by their sum. The
    image's own is Beta(1, 1). Both come from the table.
    """
    width, depth = int(entry.strengths["width"]), int(entry.strengths["depth"])
    rows = np.flatnonzero(numbers[:, 0] < entry.p)
    here = np.arange(len(rows))
    own = numbers[rows, -1]
    lines = numbers[rows, 1:-1].reshape(len(rows), width, 2 + 2 * depth)
    exponential = -np.log1p(-lines[..., 0].astype(np.float64))
    shares = (exponential + 1e-12) / (exponential + 1e-12).sum(axis=1, keepdims=True)
    weights = np.column_stack([own, (1 - own)[:, None] * shares]).astype(np.float32)
    drawn = []
    for line in np.moveaxis(lines, 1, 0):
        length = 1 + np.minimum((line[:, 1] * depth).astype(np.int64), depth - 1)
        slots = line[:, 2:].reshape(len(rows), depth, 2)
        level = entry.strengths["m"] / 30
        drawn.append(choice(AUG_MIX, here, slots, level=level, lengths=length))
    return drawn, weights, rows
