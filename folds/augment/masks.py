"""Covering parts of an image with its mean colour."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from folds.arrays import Floats


def erase(image: Tensor, numbers: Floats, max: float) -> Tensor:
    """Cover a rectangle of up to `max` of the area, its sides as 1 to 2 up to 2 to 1.

    References
    ----------
    Zhong et al., Random Erasing Data Augmentation, 2020.
    """
    area, aspect = max * numbers[:, 0], 2 ** (2 * numbers[:, 1] - 1)
    lengths = np.sqrt(np.column_stack([area * aspect, area / aspect]))
    box = boxes(lengths, numbers[:, 2:], image.shape[-1])
    return _covered(image, inside(box, image))


def grid_mask(image: Tensor, numbers: Floats, max: float) -> Tensor:
    """Cover a regular grid of squares, together up to `max` of the area.

    The distance between squares is an eighth to a third of the side, the grid begins anywhere.

    References
    ----------
    Chen et al., GridMask Data Augmentation, 2020. There the grid is turned as well.
    """
    side = image.shape[-1]
    period = side * (1 / 8 + numbers[:, 1] * (1 / 3 - 1 / 8))
    square = np.sqrt(max * numbers[:, 0]) * period
    at = np.arange(side) + 0.5
    across, down = (
        np.mod(at + numbers[:, i, None] * period[:, None], period[:, None]) < square[:, None]
        for i in (2, 3)
    )
    bands = torch.from_numpy(np.stack([across, down])).to(image.device, non_blocking=True)
    return _covered(image, (bands[0, :, None, :] & bands[1, :, :, None])[:, None])


def boxes(lengths: NDArray, places: NDArray, side: int) -> NDArray[np.int64]:
    """Rectangles of whole pixels that lie within an image.

    Parameters
    ----------
    lengths : ndarray, shape (n, 2)
        Width and height as shares of a side, 0 to 1; cut to whole pixels.
    places : ndarray, shape (n, 2)
        In [0, 1): from the leftmost and topmost place to the last.
    side : int
        Of the image in pixels.

    Returns
    -------
    ndarray of int64, shape (n, 4)
        Left, top, right, bottom; the last two are outside.
    """
    pixels = np.floor(lengths * side).astype(np.int64)
    start = np.floor(places * (side - pixels + 1)).astype(np.int64)
    start = np.minimum(start, side - pixels)  # a product may be rounded up
    return np.concatenate([start, start + pixels], axis=1)


def inside(box: NDArray[np.int64], image: Tensor) -> Tensor:
    """Which pixels lie in boxes (n, 4): bool, shape (n, 1, S, S), on the image's device."""
    left, top, right, bottom = torch.from_numpy(box).to(image.device, non_blocking=True).T
    at = torch.arange(image.shape[-1], device=image.device)
    across = (at >= left[:, None]) & (at < right[:, None])
    down = (at >= top[:, None]) & (at < bottom[:, None])
    return (across[:, None, :] & down[:, :, None])[:, None]


def _covered(image: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, image.mean(dim=(2, 3), keepdim=True), image)
