"""Unequal classes: how much each counts in the loss, and how often its images come in an epoch.

Everything here is a function of the class counts of a fold's training part (law 2).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from folds.config.train import Method
from folds.errors import UserError, listed, nearest

BETA = 0.999  # of the effective number of samples


@dataclass(frozen=True)
class Balance:
    """What is done about the classes of a training part.

    Parameters
    ----------
    counts, targets : ndarray of int64, shape (C,)
        Images of each class: in the training part, and in an epoch.
    weights : ndarray of float64, shape (C,)
        Factor of the loss of a class's images.

    Notes
    -----
    - computed weights have mean 1 over the images, so the learning rate means the same as without;
    - a class without images stays without, and has weight 1.
    """

    counts: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: NDArray[np.float64]

    @property
    def images(self) -> int:
        """Images that come in an epoch."""
        return int(self.targets.sum())

    def facts(self, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """The three by class name, as plain data."""
        values = {"counts": self.counts, "targets": self.targets, "weights": self.weights.round(6)}
        return {
            what: dict(zip(names, value.tolist(), strict=True)) for what, value in values.items()
        }


def balanced(
    labels: NDArray[np.int64], names: Sequence[str], method: Method, by_hand: Mapping[str, float]
) -> Balance:
    """Balance a training part.

    Parameters
    ----------
    labels : ndarray of int64, shape (T,)
        Of the training part alone.
    names : sequence of str
        Of the C classes.
    method : str
        As ``--balance``.
    by_hand : mapping of str to float
        Weights of some classes, instead of the method's; the others have 1.

    Raises
    ------
    UserError
        A class in `by_hand` is unknown.
    """
    counts = np.bincount(labels, minlength=len(names)).astype(np.int64)
    weights = weights_by_hand(names, by_hand) if by_hand else loss_weights(counts, method)
    return Balance(counts, epoch_targets(counts, method), weights)


def loss_weights(counts: NDArray[np.int64], method: Method) -> NDArray[np.float64]:
    """Weights (C,) of the classes in the loss.

    ``weights``: n / (k n_c), as scikit-learn's "balanced". ``effective``: inverse to the effective
    number of samples, (1 - beta) / (1 - beta^n_c). Other methods: 1.

    References
    ----------
    Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019.
    """
    weights = np.ones(len(counts))
    present = counts > 0
    number = counts[present]
    if method == "weights":
        weights[present] = number.sum() / (len(number) * number)
    elif method == "effective":
        inverse = (1 - BETA) / (1 - BETA**number)
        weights[present] = inverse * number.sum() / (inverse @ number)
    return weights


def weights_by_hand(names: Sequence[str], given: Mapping[str, float]) -> NDArray[np.float64]:
    """Weights (C,): as given by class name, else 1."""
    for name in given:
        if name not in names:
            known = nearest(name, names) or f"; the classes are {listed(names)}"
            raise UserError(f"--class-weights {name}: no such class{known}")
    return np.array([given.get(name, 1.0) for name in names])


def epoch_targets(counts: NDArray[np.int64], method: Method) -> NDArray[np.int64]:
    """Images (C,) of each class in an epoch.

    ``oversample``: as many as the largest class has; ``undersample``: as the smallest; ``hybrid``:
    as the median class, rounded down. Other methods: all of them, once.
    """
    number = counts[counts > 0]
    match method:
        case "oversample":
            size = int(number.max())
        case "undersample":
            size = int(number.min())
        case "hybrid":
            size = int(np.median(number))
        case _:
            return counts
    return np.where(counts > 0, size, 0)
