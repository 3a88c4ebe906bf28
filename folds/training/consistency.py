"""The consistency loss: a network shall answer alike to an image and to its augmented views."""

import math

import torch
from torch import Tensor

from folds.arrays import Floats
from folds.augment import Policy, augment, to_input

VIEWS = 3  # of an image: the one that it is trained on, the plain one, and another augmented one


def other_views(pixels: Tensor, numbers: Floats, policy: Policy, size: int) -> Tensor:
    """The views of images beside the one that they are trained on: plain, and augmented again.

    Parameters
    ----------
    pixels : Tensor of uint8, shape (B, H, W, 3)
    numbers : ndarray of float32, shape (B, policy.columns)
        In [0, 1); see `folds.sampling.uniform_table`.

    Returns
    -------
    Tensor of float32, shape (2 B, 3, size, size)
        All plain ones, then all others.
    """
    return torch.cat([to_input(pixels, size), augment(pixels, numbers, policy, size)])


def disagreement(logits: Tensor) -> Tensor:
    """Jensen-Shannon divergence of the answers to an image's views.

    Parameters
    ----------
    logits : Tensor, shape (V, B, C)
        Of V views of B images.

    Returns
    -------
    Tensor of float32, shape (B,)
        Mean divergence of the views' probabilities from their mean: from 0, where all are equal,
        to log V.

    References
    ----------
    Hendrycks et al., AugMix, ICLR 2020. There the labels are learnt from the plain view.
    """
    logs = logits.float().log_softmax(dim=2)
    mean = logs.logsumexp(dim=0) - math.log(len(logits))
    return (logs.exp() * (logs - mean)).sum(dim=2).mean(dim=0)
