"""Batch norm over a whole global batch, whoever has its images."""

from typing import Any

import torch
from torch import Tensor, nn

from folds.model.layer_groups import BatchNorm
from folds.runtime.workers import Workers


def synchronise(model: nn.Module, workers: Workers) -> None:
    """Let the batch norm of a model see all workers' images while it trains, in place.

    Names and weights stay as they are. One way for every device: torch's own SyncBatchNorm has
    none for the CPU, and would replace modules that others hold.
    """
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.forward = _Synchronised(module, workers)  # type: ignore[method-assign, assignment]


class _Synchronised:
    """The forward pass of one batch norm."""

    def __init__(self, norm: Any, workers: Workers) -> None:
        self._norm, self._workers = norm, workers

    def __call__(self, image: Tensor) -> Tensor:
        norm = self._norm
        if not norm.training:
            plain: Tensor = type(norm).forward(norm, image)
            return plain
        with torch.autocast(image.device.type, enabled=False):
            output = self._normalised(image.float()).to(image.dtype)
        if hasattr(norm, "act"):  # timm's batch norm brings the activation along
            output = norm.act(norm.drop(output))
        return output

    def _normalised(self, image: Tensor) -> Tensor:
        """Normalise by mean and variance over all workers, in two sums.

        Squares of centred values are summed, not of the values: in float32 the difference of two
        large sums would lose a small variance.
        """
        norm = self._norm
        axes = [axis for axis in range(image.ndim) if axis != 1]
        shape = [1, -1, *[1] * (image.ndim - 2)]
        here = image.new_full((1,), image.numel() / image.shape[1])
        total = self._workers.sum_through(torch.cat([image.sum(axes), here]))
        mean, count = total[:-1] / total[-1], total[-1].detach()
        centred = image - mean.view(shape)
        variance = self._workers.sum_through(centred.square().sum(axes)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1).clamp_min(1))
        scale = torch.rsqrt(variance + norm.eps)
        if norm.affine:
            return centred * (scale * norm.weight).view(shape) + norm.bias.view(shape)
        return centred * scale.view(shape)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics as torch's batch norm does."""
        norm = self._norm
        if norm.running_mean is None or not norm.track_running_stats:
            return
        norm.num_batches_tracked += 1
        share = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean, share)
        norm.running_var.lerp_(variance, share)
