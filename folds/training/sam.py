"""Sharpness-aware minimisation: gradients of the worst place near the weights, not of these."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from folds.model.layer_groups import BatchNorm


@contextmanager
def steepest(model: nn.Module, radius: float) -> Iterator[None]:
    """Let a model have the weights a radius up its gradients, which are forgotten.

    Parameters
    ----------
    model : Module
        With the gradients of a whole step, summed over all workers. A common factor in them does
        not matter.
    radius : float
        Norm of the way there, over all trained weights.

    Notes
    -----
    - afterwards the weights are what they were, to the last bit; gradients made meanwhile stay;
    - batch norm that trains does not remember what it sees meanwhile.

    References
    ----------
    Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization, ICLR 2021.
    """
    trained: list[Tensor] = [p for p in model.parameters() if p.grad is not None]
    own = [p.detach().clone() for p in trained]
    _climb(trained, radius)
    model.zero_grad(set_to_none=True)
    norms: list[Any] = [m for m in model.modules() if isinstance(m, BatchNorm) and m.training]
    remembering = [norm for norm in norms if norm.track_running_stats]
    for norm in remembering:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in remembering:
            norm.track_running_stats = True
        with torch.no_grad():
            torch._foreach_copy_(trained, own)


@torch.no_grad()
def _climb(trained: list[Tensor], radius: float) -> None:
    """Move weights by the radius in the direction of their gradients, without a wait."""
    gradients = [p.grad for p in trained if p.grad is not None]
    length: Tensor = nn.utils.get_total_norm(gradients)
    factor = radius / length.clamp_min(torch.finfo(length.dtype).tiny)
    for weights, gradient in zip(trained, gradients, strict=True):
        weights.addcmul_(gradient, factor)
