"""Weight soups: one network whose weights are the mean of several networks' (Wortsman et al. 2022).

Batch norm's statistics are averaged like weights, which is only an approximation, and networks that
were trained apart need not be connected by good ones: a soup is to be scored before it is used.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

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


def uniform(models: Sequence[Weights]) -> Weights:
    """Mean of the weights of some models.

    Parameters
    ----------
    models : sequence of dict of str to Tensor
        Weights of the same network, at least once.

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
    if not models:
        raise ValueError("a soup needs at least one model")
    if any(_shapes(weights) != _shapes(models[0]) for weights in models):
        raise ValueError("a soup needs models of one network")
    return {name: _mean([weights[name] for weights in models]) for name in models[0]}


def greedy(
    models: Sequence[Weights], order: Sequence[int], score: Callable[[Weights], float]
) -> Soup:
    """Add models to a soup one after another, and keep each that does not make it worse.

    Parameters
    ----------
    models : sequence of dict of str to Tensor
        Weights of the same network.
    order : sequence of int
        Their numbers in the order in which they are tried, the best first; at least one.
    score : callable
        Judges weights; larger is better. A soup whose score is no number is not kept.

    Notes
    -----
    The soup's score is never below that of its first member.
    """
    weights = uniform([models[order[0]]])
    best = Soup(weights, (order[0],), score(weights))
    for number in order[1:]:
        members = (*best.members, number)
        weights = uniform([models[member] for member in members])
        candidate = Soup(weights, members, score(weights))
        if candidate.score >= best.score:
            best = candidate
    return best


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    """The mean in double precision; of integers the greatest."""
    together = torch.stack(list(tensors))
    if not together.is_floating_point():
        return together.amax(dim=0)
    return together.double().mean(dim=0).to(together.dtype)


def _shapes(weights: Weights) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in weights.items()}
