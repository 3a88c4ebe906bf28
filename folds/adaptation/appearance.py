"""What images look like, without labels: levels of their colours, size of their object."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from folds.adaptation.foreground import Foreground, foreground

QUANTILES = (0.02, 0.5, 0.98)  # of an image's values in a channel: its levels
SPREAD = (0.05, 0.25, 0.75, 0.95)  # of training's images: what is usual
_GRID = 64  # places along a side at which levels are looked up
_LEAST_SPREAD = 0.02  # of a level, by which distances from what is usual are measured

Levels = tuple[tuple[tuple[float, ...], ...], ...]


class Looks(NamedTuple):
    """What B images look like.

    Parameters
    ----------
    levels : Tensor of float32, shape (B, 3, 3)
        By channel (red, green, blue) and quantile (2%, 50%, 98%), in [0, 1].
    foreground : Foreground
        Their objects.
    """

    levels: Tensor
    foreground: Foreground


@dataclass(frozen=True)
class Appearance:
    """What the images look like that a model was trained on.

    Parameters
    ----------
    levels : tuple, shape (4, 3, 3)
        Quantiles (5, 25, 75 and 95%) over the images of their levels, see `Looks`.
    limit : float
        Distance from the usual levels (`distance`) that 95% of the images stay below.
    radius : tuple of float, length 4
        The same quantiles of the objects' radii, in half sides of a picture.
    shares : tuple of float
        Of each class, among the images as the loss weighs them.

    Raises
    ------
    ValueError
        Another shape, or a value that no images have.
    """

    levels: Levels
    limit: float
    radius: tuple[float, float, float, float]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        shapes = {len(self.levels), *(len(rows) + 1 for rows in self.levels)}
        widths = {len(row) for rows in self.levels for row in rows}
        numbers = [value for rows in self.levels for row in rows for value in row]
        numbers += [*self.radius, *self.shares]
        usual = all(0 <= value <= 2 for value in numbers) and 0 <= self.limit < float("inf")
        if shapes != {4} or widths != {3} or not usual or not 0.99 < sum(self.shares) < 1.01:
            raise ValueError("its appearance is not that of images")

    @classmethod
    def mean(cls, each: Sequence[Self]) -> Self:
        """The mean of several, of models that are joined."""
        levels = np.mean([one.levels for one in each], axis=0).tolist()
        return cls(
            tuple(tuple(map(tuple, rows)) for rows in levels),
            float(np.mean([one.limit for one in each])),
            tuple(np.mean([one.radius for one in each], axis=0).tolist()),
            tuple(np.mean([one.shares for one in each], axis=0).tolist()),
        )


def looks_of(images: Tensor) -> Looks:
    """Look at images (B, 3, S, S), float32 in [0, 1]; each by itself."""
    step = max(1, images.shape[-1] // _GRID)
    values = images[:, :, ::step, ::step].flatten(2)
    at = torch.tensor(QUANTILES, device=images.device)
    return Looks(values.quantile(at, dim=2).permute(1, 2, 0), foreground(images))


def appearance_of(images: Sequence[Tensor], shares: Sequence[float]) -> Appearance:
    """What images look like together.

    Parameters
    ----------
    images : sequence of Tensor of float32, shape (B, 3, S, S)
        In [0, 1]; some hundred are enough.
    shares : sequence of float
        See `Appearance`.
    """
    looks = [looks_of(batch) for batch in images]
    levels = torch.cat([look.levels for look in looks]).cpu()
    radii = torch.cat([look.foreground.radius for look in looks]).cpu()
    at = torch.tensor(SPREAD)
    usual = levels.quantile(at, dim=0)
    limit = float(distance(levels, usual).quantile(SPREAD[-1]))
    total = sum(shares)
    return Appearance(
        tuple(tuple(map(tuple, rows)) for rows in usual.tolist()),
        limit,
        tuple(radii.quantile(at).tolist()),
        tuple(share / total for share in shares),
    )


def distance(levels: Tensor, usual: Tensor) -> Tensor:
    """How far the levels (B, 3, 3) of images lie outside the usual ones (4, 3, 3).

    Returns
    -------
    Tensor, shape (B,)
        Mean over channels and quantiles, in spreads between the 5% and the 95% quantile.
    """
    low, high = usual[0], usual[3]
    outside = (low - levels).clamp_min(0) + (levels - high).clamp_min(0)
    return (outside / (high - low).clamp_min(_LEAST_SPREAD)).mean(dim=(1, 2))
