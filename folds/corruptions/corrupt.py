"""The corruption suite: which there are, and how strong at severities 1 to 5.

References
----------
Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations, 2019 (ImageNet-C). Strengths follow theirs in spirit, scaled to the image's side and
looked at on cells of 96 pixels: at severity 5 a person still names the cell.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from folds.arrays import Floats
from folds.augment.draws import Draw
from folds.augment.policy import perform
from folds.config.corruptions import SEVERITIES
from folds.config.policies import OPERATIONS
from folds.corruptions import operations
from folds.corruptions.keys import numbers_of
from folds.errors import nearest

Own = Callable[[Tensor, Floats, float], Tensor]


@dataclass(frozen=True)
class Corruption:
    """One corruption.

    Parameters
    ----------
    levels : tuple of float
        Strengths of severities 1 to 5.
    own : callable, optional
        Of `folds.corruptions.operations`.
    op : str, optional
        Of `folds.config.policies.OPERATIONS` in place of `own`: what augmentation has in the same
        form.
    first : callable
        What becomes of the operation's first number (B,): 1 is full strength, so is 0 in the
        other direction where there are two (`np.rint` takes either, as often).
    """

    levels: tuple[float, ...]
    own: Own | None = None
    op: str | None = None
    first: Callable[[Floats], Floats] = np.ones_like


def _as(op: str, *levels: float, first: Callable[[Floats], Floats] = np.ones_like) -> Corruption:
    return Corruption(levels, op=op, first=first)


def _by(own: Own, *levels: float) -> Corruption:
    return Corruption(levels, own)


TABLE: Mapping[str, Corruption] = {
    "gaussian_noise": _as("noise", 0.04, 0.08, 0.12, 0.17, 0.23),  # standard deviation
    "shot_noise": _by(operations.shot_noise, 0.06, 0.1, 0.15, 0.21, 0.28),  # the same at value 1
    "impulse_noise": _by(operations.impulse_noise, 0.01, 0.03, 0.06, 0.11, 0.18),  # share
    "speckle_noise": _by(operations.speckle_noise, 0.08, 0.14, 0.21, 0.29, 0.38),
    "defocus": _by(operations.defocus, 0.011, 0.018, 0.026, 0.035, 0.044),  # share of a side
    "motion_blur": _as("motion_blur", 0.04, 0.065, 0.095, 0.125, 0.16),  # share of a side
    "zoom_blur": _by(operations.zoom_blur, 0.08, 0.14, 0.21, 0.29, 0.38),  # enlarged by
    "glass_blur": _by(operations.glass_blur, 0.006, 0.012, 0.018, 0.025, 0.033),  # share of a side
    "brightness": _as("brightness", 0.1, 0.17, 0.25, 0.33, 0.42, first=np.rint),
    "contrast": _as("contrast", 0.25, 0.4, 0.55, 0.7, 0.8, first=np.zeros_like),  # taken away
    "saturation": _as("saturation", 0.2, 0.4, 0.6, 0.8, 1, first=np.rint),
    "hue": _as("hue", 0.03, 0.06, 0.09, 0.13, 0.18, first=np.rint),  # turns
    "stain": _as("stain", 0.05, 0.09, 0.13, 0.17, 0.22, first=np.positive),
    "elastic": _as("elastic", 0.02, 0.035, 0.05, 0.065, 0.08),  # share of a side
    "pixelate": _by(operations.pixelate, 0.25, 0.42, 0.55, 0.65, 0.72),
    "jpeg": _as("jpeg", 50, 70, 80, 87, 92),  # quality lost, of 100
    "rotation": _as("rotate", 9, 18, 27, 36, 45, first=np.rint),  # degrees
    "scale": _as("zoom", 0.07, 0.14, 0.21, 0.28, 0.35, first=np.rint),
    "occlusion": _as("erase", 0.03, 0.06, 0.09, 0.13, 0.17),  # share of the area
}


@torch.no_grad()
def corrupt(images: Tensor, keys: Tensor, name: str, severity: int) -> Tensor:
    """Corrupt images.

    Parameters
    ----------
    images : Tensor of float32, shape (B, 3, S, S)
        In [0, 1], on any device; not overwritten.
    keys : Tensor of int64, shape (B,)
        Of `keys_of`; best on the CPU, since a device would be waited for.
    name : str
        Of `folds.config.corruptions.CORRUPTIONS`.
    severity : int
        1 to 5.

    Returns
    -------
    Tensor of float32, shape (B, 3, S, S)
        In [0, 1], on the same device.

    Raises
    ------
    ValueError
        Name or severity is unknown.

    Notes
    -----
    - an image's result depends on its pixels, its key, name and severity; not on the batch, nor on
      any generator or autocast;
    - directions, places and noise are the same at each severity: only their strength differs.
    """
    if name not in TABLE:
        raise ValueError(f"no corruption {name!r}{nearest(name, TABLE)}")
    if severity not in SEVERITIES:
        raise ValueError(f"severity {severity}: must be 1 to 5")
    corruption = TABLE[name]
    strength = corruption.levels[severity - 1]
    # under autocast places and noise would be rounded, and differ between precisions
    with torch.autocast(images.device.type, enabled=False):
        if corruption.own is not None:
            changed = corruption.own(images, numbers_of(keys, name, 1), strength)
        else:
            changed = perform(images.clone(), [_draw(corruption, keys, name, strength)])
    return changed.clamp(0, 1)


def _draw(corruption: Corruption, keys: Tensor, name: str, strength: float) -> Draw:
    """An operation of augmentation at full strength, on all images."""
    op = str(corruption.op)
    numbers = numbers_of(keys, name, OPERATIONS[op].numbers)
    numbers[:, 0] = corruption.first(numbers[:, 0])
    return Draw(op, np.arange(len(keys)), numbers, {"max": strength})
