"""What is minimised: a loss of each image, and of triplets of images."""

import math

import torch
from torch import Tensor, nn

from folds.config import Config
from folds.runtime.workers import Workers


def image_losses(config: Config, logits: Tensor, labels: Tensor) -> Tensor:
    """Loss of each image, before any weight.

    Parameters
    ----------
    logits : Tensor, shape (B, C)
    labels : Tensor of int64, shape (B,)

    Returns
    -------
    Tensor of float32, shape (B,)
        Cross-entropy against the label, smoothed by ``--label-smoothing``; with ``--loss focal``
        times ``(1 - p) ** gamma``, where p is the label's probability.

    References
    ----------
    Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
    """
    logits = logits.float()
    losses = nn.functional.cross_entropy(
        logits, labels, label_smoothing=config.train.label_smoothing, reduction="none"
    )
    if config.optim.loss == "ce":
        return losses
    chosen = logits.log_softmax(1).gather(1, labels[:, None]).squeeze(1)
    # where p is 1 to the last bit, the power's gradient would be infinite
    unsure = (-torch.expm1(chosen)).clamp_min(torch.finfo(torch.float32).eps)
    return unsure**config.optim.focal_gamma * losses


def taught_losses(losses: Tensor, logits: Tensor, taught: Tensor) -> Tensor:
    """Give teachers their share in losses (B,) of images, see `folds.training.refit.Teachers`.

    Parameters
    ----------
    logits : Tensor, shape (B, C)
    taught : Tensor of float32, shape (B, C)
        Their probabilities times their share in the target; 0 where nobody teaches.

    Returns
    -------
    Tensor of float32, shape (B,)
        Where the losses are cross-entropies, that against the blend of both targets.
    """
    told = (taught * logits.float().log_softmax(1)).sum(1)
    return (1 - taught.sum(1)) * losses - told


def fresh_factor(config: Config, classes: int) -> float:
    """Loss of a head that knows nothing, as multiple of log(classes)."""
    return 1.0 if config.optim.loss == "ce" else (1 - 1 / classes) ** config.optim.focal_gamma


def triplet_loss(features: Tensor, labels: Tensor, workers: Workers, batch: Tensor) -> Tensor:
    """This worker's share of the batch-hard triplet loss of a global batch.

    Each image of the batch that has another of its class and one of another class in it counts
    with ``softplus(p - n)``: p is its Euclidean distance to the farthest image of its class, n to
    the nearest of another class. The shares of all workers sum to the mean over these images.

    Parameters
    ----------
    features : Tensor, shape (B, F)
        Of this worker's part of the batch.
    labels : Tensor of int64, shape (B,)
        Of the same.
    batch : Tensor of int64, shape (G,)
        Labels of the global batch, in the order of the workers.

    Notes
    -----
    A global batch has the same triplets however many workers share it.

    References
    ----------
    Hermans, Beyer and Leibe, In Defense of the Triplet Loss for Person Re-Identification, 2017.
    """
    with torch.autocast(features.device.type, enabled=False):
        features = features.float()
        every = workers.gather_through(features, len(batch))
        far = torch.cdist(features, every, compute_mode="donot_use_mm_for_euclid_dist")
    same = labels[:, None] == batch
    # an image's distance to itself is 0, so it is its own farthest only where it is alone
    farthest = far.masked_fill(~same, -math.inf).amax(1)
    nearest = far.masked_fill(same, math.inf).amin(1)
    valid = _has_triplets(labels, batch)
    losses = nn.functional.softplus(torch.where(valid, farthest - nearest, 0.0))
    return losses.where(valid, 0.0).sum() / _has_triplets(batch, batch).sum().clamp_min(1)


def _has_triplets(labels: Tensor, batch: Tensor) -> Tensor:
    """Whether there is another image of each label's class, and one of another class."""
    like = (labels[:, None] == batch).sum(1)
    return (like > 1) & (like < len(batch))
