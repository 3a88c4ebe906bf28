"""Dividing groups of images into parts whose class shares are as even as the groups allow."""

import numpy as np
from numpy.typing import NDArray

TRIES = 8  # orders of the groups, of which the most even result is kept
Table = NDArray[np.float64]


def grouped_split(
    labels: NDArray[np.int64], groups: NDArray, shares: NDArray[np.float64], *, seed: int
) -> NDArray[np.int64]:
    """Put whole groups into parts.

    As in scikit-learn's StratifiedGroupKFold groups are placed one after another, great ones
    first, each where the class counts then fit best. Beyond it, parts may have unequal shares,
    several orders are tried, and images that are alone in their group come last and fill what the
    others have left uneven.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
    groups : ndarray, shape (N,)
        Names of the groups.
    shares : ndarray of float64, shape (P,)
        How much of the images each part shall have; sum 1.
    seed : int
        Of the orders.

    Returns
    -------
    part : ndarray of int64, shape (N,)
        0 to P - 1.

    Notes
    -----
    - no group is in two parts;
    - no part is empty where there are as many groups of several images;
    - where each image is its own group and there are two parts, or equal ones, each class's count
      in a part is within one image of its ideal.
    """
    _, label = np.unique(labels, return_inverse=True)
    _, group = np.unique(groups, return_inverse=True)
    counts = np.zeros((group.max() + 1, label.max() + 1), np.int64)
    np.add.at(counts, (group, label), 1)
    ideal = np.outer(shares, counts.sum(axis=0))
    tries = TRIES if counts.sum(axis=1).max() > 1 else 1
    placed = [_place(counts, ideal, np.random.default_rng([seed, n])) for n in range(tries)]
    return min(placed, key=lambda part: _unevenness(counts, part, ideal))[group]


def _place(counts: NDArray[np.int64], ideal: Table, rng: np.random.Generator) -> NDArray[np.int64]:
    """Part of each of G groups, given their class counts (G, C) and the ideal ones (P, C)."""
    sizes = counts.sum(axis=1)
    part = np.full(len(counts), -1)
    have = np.zeros_like(ideal)
    rough = sizes * rng.uniform(0.5, 1, len(sizes))
    for group in np.argsort(-rough, kind="stable")[: int((sizes > 1).sum())].tolist():
        # what the group adds to the sum of (have - ideal)^2 / ideal, as in a chi-square test
        added = (counts[group] * (2 * (have - ideal) + counts[group]) / ideal).sum(axis=1)
        part[group] = np.lexsort((have.sum(axis=1), added))[0]  # the emptiest of equal ones
        have[part[group]] += counts[group]
    _fill(part, counts, have, ideal, rng)
    return part


def _fill(
    part: NDArray[np.int64],
    counts: NDArray[np.int64],
    have: Table,
    ideal: Table,
    rng: np.random.Generator,
) -> None:
    """Place the images that are alone in their groups, class by class, by the same rule.

    What rounding has left a part short of in one class it is given in the next, so that the parts
    get their shares of all images too.
    """
    carry = np.zeros(len(ideal))
    for label in range(ideal.shape[1]):
        alone = rng.permutation(np.flatnonzero((part < 0) & (counts[:, label] > 0)))
        steps = np.arange(len(alone))[:, None]
        short = ideal[:, label] + carry.clip(-0.5, 0.5) - have[:, label] - steps
        added = (1 - 2 * short) / ideal[:, label]  # of each further image, (n, P)
        part[alone] = np.argsort(added, axis=None, kind="stable")[: len(alone)] % len(ideal)
        have[:, label] += np.bincount(part[alone], minlength=len(ideal))
        carry += ideal[:, label] - have[:, label]


def _unevenness(
    counts: NDArray[np.int64], part: NDArray[np.int64], ideal: Table
) -> tuple[float, float]:
    """The greatest deviation from an ideal count, then the sum of their squares."""
    have = np.zeros_like(ideal)
    np.add.at(have, part, counts)
    off = np.abs(have - ideal)
    return float(off.max()), float((off**2).sum())
