"""Weight soups: one network whose weights are the mean of several networks' (Wortsman et al. 2022).

Batch norm's statistics are those of its inputs under its own network's weights: under averaged ones
they are others, and not the mean of them, so they are computed anew (`renew`). Networks that were
trained apart need not be connected by good ones: a soup is to be scored before it is used.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]
_MEAN = ".running_mean"


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
    """Mean of the weights of some models, and of the statistics of their batch norm.

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


def moved_norms(models: Sequence[Weights]) -> list[str]:
    """Names of the batch norms whose statistics differ between models: others have kept theirs."""
    means = [name for name in models[0] if name.endswith(_MEAN)]
    kinds = {name: (name, f"{name.removesuffix(_MEAN)}.running_var") for name in means}
    return [
        name.removesuffix(_MEAN)
        for name in means
        if any(not torch.equal(m[kind], models[0][kind]) for m in models for kind in kinds[name])
    ]


@torch.no_grad()
def renew(network: nn.Module, norms: Sequence[str], batches: Iterable[Tensor]) -> None:
    """Compute the statistics of some batch norms anew, in place; leaves all in evaluation mode.

    Parameters
    ----------
    norms : sequence of str
        Names of modules of the network. The others normalise by the statistics that they have.
    batches : iterable of Tensor
        Images that the members were trained on, at least one batch; all count alike.

    References
    ----------
    Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, UAI 2018;
    `torch.optim.swa_utils.update_bn`.
    """
    network.eval()
    chosen: list[Any] = [network.get_submodule(name) for name in norms]
    momenta = [norm.momentum for norm in chosen]
    for norm in chosen:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    for batch in batches:
        network(batch)
    for norm, momentum in zip(chosen, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


def greedy(
    models: Sequence[Weights],
    order: Sequence[int],
    score: Callable[[Weights], float],
    mix: Callable[[Sequence[Weights]], Weights] = uniform,
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
    mix : callable
        Makes the weights of some models' soup.

    Notes
    -----
    The soup's score is never below that of its first member.
    """
    weights = mix([models[order[0]]])
    best = Soup(weights, (order[0],), score(weights))
    for number in order[1:]:
        members = (*best.members, number)
        weights = mix([models[member] for member in members])
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
