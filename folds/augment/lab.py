"""Colours by their statistics in CIELAB: mean and spread of lightness and of the two hues' axes.

References
----------
Reinhard et al., Color Transfer between Images, 2001. There the space is l-alpha-beta.
"""

from typing import NamedTuple

import numpy as np
import torch
from kornia.color import lab_to_rgb, rgb_to_lab
from torch import Tensor

from folds.arrays import Floats

_UNITS = 100  # of lightness, from black to white
_FLAT = 1.0  # a spread below it, in Lab's units, is no colour's but noise


class Statistics(NamedTuple):
    """Mean and standard deviation (n, 3, 1, 1) of each channel of images, in Lab's units.

    The spread is at least 1, so that an even channel is not blown up.
    """

    mean: Tensor
    spread: Tensor


def to_lab(image: Tensor) -> Tensor:
    """Images (n, 3, S, S) of sRGB in [0, 1] in CIELAB: 0 to 100, and about -100 to 100 twice."""
    lab: Tensor = rgb_to_lab(image)
    return lab


def statistics(lab: Tensor) -> Statistics:
    """Statistics of images (n, 3, S, S) of `to_lab`, each on its own."""
    spread, mean = torch.std_mean(lab, dim=(2, 3), keepdim=True)
    return Statistics(mean, spread.clamp_min(_FLAT))


def moved(lab: Tensor, shift: Tensor, factor: Tensor) -> Tensor:
    """Move the channels' means and multiply the distances from them.

    Parameters
    ----------
    lab : Tensor, shape (n, 3, S, S)
        Of `to_lab`.
    shift, factor : Tensor, shape (n, 3, 1, 1)

    Returns
    -------
    Tensor, shape (n, 3, S, S)
        sRGB, cut to [0, 1].
    """
    mean = lab.mean(dim=(2, 3), keepdim=True)
    image: Tensor = lab_to_rgb((lab - mean) * factor + (mean + shift))
    return image.clamp_(0, 1)


def random_reinhard(image: Tensor, numbers: Floats, max: float) -> Tensor:
    """Move mean and spread of each channel in Lab, as another laboratory's colours do.

    Means move by up to `max` hundred of Lab's units, spreads by factors of ``exp(-max)`` to
    ``exp(max)``.

    References
    ----------
    Shen et al., RandStainNA, MICCAI 2022. There colours do not depend on the image's.
    """
    spread = max * (2 * numbers - 1).astype(np.float32)
    sent = np.concatenate([_UNITS * spread[:, :3], np.exp(spread[:, 3:])], axis=1)
    both = torch.from_numpy(sent).to(image.device, non_blocking=True)[:, :, None, None]
    return moved(to_lab(image), both[:, :3], both[:, 3:])
