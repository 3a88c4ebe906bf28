"""Another lamp, another lens, another stain: what a microscope and a bath do to a slide's light.

All take images, float32 (n, 3, S, S) in [0, 1], and their numbers (n, k) of the table, and return
images of the same shape and range.
"""

import numpy as np
import torch
from torch import Tensor

from folds.arrays import Floats

# optical density of haematoxylin, eosin and DAB in red, green and blue (Ruifrok and Johnston, 2001)
HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
_DARKEST = 1 / 255  # added to what passes, so that black has a logarithm


def gamma(image: Tensor, numbers: Floats, max: float) -> Tensor:
    """Raise each channel to a power of its own, ``exp(-max)`` to ``exp(max)``."""
    power = np.exp(max * (2 * numbers - 1)).astype(np.float32)
    return image ** torch.from_numpy(power).to(image.device, non_blocking=True)[:, :, None, None]


def vignette(image: Tensor, numbers: Floats, max: float) -> Tensor:
    """Let light fall off from a random place, by up to `max` in the farthest corner.

    The loss grows with the square of the distance.
    """
    at = (np.arange(image.shape[-1]) + 0.5) / image.shape[-1]
    across, down = ((at - numbers[:, i, None]) ** 2 for i in (1, 2))
    far = across.max(axis=1) + down.max(axis=1)
    rate = (max * numbers[:, 0] / far)[:, None].astype(np.float32)
    loss = np.stack([rate * across, rate * down]).astype(np.float32)
    right, below = torch.from_numpy(loss).to(image.device, non_blocking=True)
    return image * (1 - right[:, None, None, :] - below[:, None, :, None])


def hed(image: Tensor, numbers: Floats, max: float) -> Tensor:
    """Change how much of each stain there is: haematoxylin, eosin and DAB.

    The amount of each, in optical density, is multiplied by ``1 - max`` to ``1 + max`` and moved
    by up to `max`.

    References
    ----------
    Tellez et al., Whole-Slide Mitosis Detection in H&E Breast Histology Using PHH3 as a Reference,
    2018. Ruifrok and Johnston, Quantification of Histochemical Staining by Color Deconvolution,
    2001.
    """
    spread = max * (2 * numbers.astype(np.float64) - 1)
    more = np.linalg.inv(HED) @ (spread[:, :3, None] * HED)  # of rows of densities
    sent = np.concatenate([more.mT, (spread[:, 3:] @ HED)[:, :, None]], axis=2)
    moved = torch.from_numpy(sent.astype(np.float32)).to(image.device, non_blocking=True)
    passing = image.flatten(2) + _DARKEST
    density = passing.log().neg_()
    denser = torch.baddbmm(moved[:, :, 3:], moved[:, :, :3], density)
    return (
        torch.addcmul(image.flatten(2), passing, denser.neg_().expm1_()).clamp_(0, 1).view_as(image)
    )
