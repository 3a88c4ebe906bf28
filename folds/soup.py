"""Weight soups: one network whose weights are the mean of several networks' (Wortsman et al. 2022).

Batch norm's statistics are averaged like weights, which is only an approximation, and networks that
were trained apart need not be connected by good ones: a soup is to be scored before it is used.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from folds.bundle import read_weights

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Soup:
    """What `greedy` made.

    Parameters
    ----------
    weights : dict of str to Tensor
    members : tuple of int
        Numbers of the models that are in it, in the order in which they were added.
    score : float
        Of the weights.
    """

    weights: Weights
    members: tuple[int, ...]
    score: float


def uniform(folders: Sequence[Path]) -> Weights:
    """Mean weights of the models in some bundles, each of one member.

    Parameters
    ----------
    folders : sequence of Path
        Bundles of the same network, at least one.

    Returns
    -------
    dict of str to Tensor
        Of each floating tensor the mean, of others (counts, indices) the greatest value.

    Raises
    ------
    ValueError
        The networks differ, or there are none.

    Notes
    -----
    - the soup of equal models is that model, bit for bit;
    - the order does not matter, but for the last bit of a sum.
    """
    if not folders:
        raise ValueError("a soup needs at least one model")
    total: Weights = {}
    for folder in folders:
        weights = read_weights(folder)
        if total and _shapes(weights) != _shapes(total):
            raise ValueError(f"{folder}: not the same network as {folders[0]}")
        kinds = {name: tensor.dtype for name, tensor in weights.items()}
        total = {n: _joined(total[n], t) if total else _wide(t) for n, t in weights.items()}
    mean = {n: t / len(folders) if t.is_floating_point() else t for n, t in total.items()}
    return {name: tensor.to(kinds[name]) for name, tensor in mean.items()}


def greedy(
    folders: Sequence[Path], order: Sequence[int], score: Callable[[Weights], float]
) -> Soup:
    """Add models to a soup one after another, and keep each that does not make it worse.

    Parameters
    ----------
    folders : sequence of Path
        Bundles of the same network.
    order : sequence of int
        Their numbers in the order in which they are tried, the best first; at least one.
    score : callable
        Judges weights; larger is better. A soup whose score is no number is not kept.

    Notes
    -----
    The soup's score is never below that of its first member.
    """
    weights = uniform([folders[order[0]]])
    best = Soup(weights, (order[0],), score(weights))
    for number in order[1:]:
        chosen = (*best.members, number)
        weights = uniform([folders[one] for one in chosen])
        if (found := score(weights)) >= best.score:
            best = Soup(weights, chosen, found)
    return best


def _wide(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _joined(total: Tensor, tensor: Tensor) -> Tensor:
    if tensor.is_floating_point():
        return total + tensor
    return torch.maximum(total, tensor)


def _shapes(weights: Weights) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in weights.items()}
