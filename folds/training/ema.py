"""An exponential moving average of a network's weights and buffers."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Average = dict[str, Tensor]  # as a state_dict


def first_average(model: nn.Module) -> Average:
    """The average before the first update: the weights themselves."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@torch.no_grad()
def follow(average: Average, model: nn.Module, decay: float, number: int) -> None:
    """Move an average towards the weights, in place; counts are copied.

    Parameters
    ----------
    decay : float
        Share of the average that stays, 0 to 1; in the first updates less of it,
        ``(1 + number) / (10 + number)``, so that it soon leaves the random head behind.
    number : int
        Updates before this one.

    Notes
    -----
    - what does not change is equal to the last bit in the average;
    - nothing waits for the device.
    """
    stays = min(decay, (1 + number) / (10 + number))
    olds, news = [], []
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            olds.append(average[name])
            news.append(tensor)
        else:
            average[name].copy_(tensor)
    torch._foreach_lerp_(olds, news, 1 - stays)


@contextmanager
def averaged(model: nn.Module, average: Average) -> Iterator[None]:
    """Let a model have its average's weights for a while."""
    own = first_average(model)
    model.load_state_dict(average)
    try:
        yield
    finally:
        model.load_state_dict(own)
