"""Where the object of a picture is, found without labels: what is unlike the picture's border."""

from typing import NamedTuple

import torch
from kornia.color import rgb_to_lab
from torch import Tensor
from torch.nn import functional

_RING = 0.18  # of a side: the border, whose colours are the surroundings'
_SIDE = 64  # pixels at most along a side, which is enough for a radius
_BLUR = 3  # of these
_NOISE = 4.0  # variance that every border has in Lab
_UNLIKE = 1.5  # standard deviations of the border's colours
_CENTRE = 0.5  # standard deviation, in half sides, of where an object is expected
_TOP, _PART = 0.97, 0.4  # an object's pixels reach so much of this quantile
_AREA = (0.01, 0.6)  # share of a picture that an object takes


class Foreground(NamedTuple):
    """Objects of B pictures.

    Parameters
    ----------
    radius : Tensor of float32, shape (B,)
        Root mean square distance of an object's pixels from their centre, in half sides.
    centre : Tensor of float32, shape (B, 2)
        x and y from -1 to 1.
    found : Tensor of bool, shape (B,)
        Whether there is an object of a size that can be told.
    """

    radius: Tensor
    centre: Tensor
    found: Tensor


def foreground(images: Tensor) -> Foreground:
    """Find the object of each of the images (B, 3, S, S), float32 in [0, 1].

    Notes
    -----
    A pixel belongs to the object the farther its colour in Lab lies from those of the picture's
    border (Mahalanobis distance) and the nearer it is to the middle. What is learnt is a radius:
    the outline need not be right.
    """
    if images.shape[-1] > _SIDE:
        images = functional.interpolate(images, (_SIDE, _SIDE), mode="area")
    height, width = images.shape[2:]
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, device=images.device),
        torch.linspace(-1, 1, width, device=images.device),
        indexing="ij",
    )
    unlike = (_border_distance(images, torch.maximum(x.abs(), y.abs())) - _UNLIKE).clamp_min(0)
    likely = unlike * torch.exp(-(x**2 + y**2) / (2 * _CENTRE**2))
    top = likely.flatten(1).quantile(_TOP, dim=1)
    mask = ((likely > _PART * top[:, None, None]) & (likely > 0)).float()
    area = mask.sum(dim=(1, 2)).clamp_min(1)
    centre = (
        torch.stack([(mask * x).sum(dim=(1, 2)), (mask * y).sum(dim=(1, 2))], 1) / area[:, None]
    )
    far = (x - centre[:, 0, None, None]) ** 2 + (y - centre[:, 1, None, None]) ** 2
    radius = ((mask * far).sum(dim=(1, 2)) / area).sqrt()
    share = area / (height * width)
    return Foreground(radius, centre, (share > _AREA[0]) & (share < _AREA[1]))


def _border_distance(images: Tensor, from_middle: Tensor) -> Tensor:
    """Mahalanobis distances (B, S, S) of blurred colours from those of the border."""
    reach = _BLUR // 2
    padded = functional.pad(rgb_to_lab(images), (reach,) * 4, mode="replicate")
    lab = functional.avg_pool2d(padded, _BLUR, 1)
    border = lab[:, :, from_middle > 1 - 2 * _RING]
    mean = border.mean(dim=2, keepdim=True)
    centred = border - mean
    noise = _NOISE * torch.eye(3, device=images.device)
    spread = centred @ centred.mT / border.shape[2] + noise
    away = lab.flatten(2) - mean
    squares = (away * torch.linalg.solve(spread, away)).sum(dim=1)
    return squares.clamp_min(0).sqrt().view(len(images), *images.shape[2:])
