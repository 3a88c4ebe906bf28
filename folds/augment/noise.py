"""Random numbers for each pixel, from one number of the table an image."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from folds.hashing import scrambled


def bits(seeds: NDArray[np.float32], count: int, device: torch.device) -> Tensor:
    """Random bits by a counter-based hash.

    Parameters
    ----------
    seeds : ndarray of float32, shape (n,)
        In [0, 1), of the table: multiples of 2**-24.
    count : int
        Numbers an image.

    Returns
    -------
    Tensor of int32, shape (n, count)
        Entry (b, i) depends on ``seeds[b]`` and i alone, and is the same on every device.
    """
    first = (seeds.astype(np.float64) * 2**24).astype(np.int64) * 0x9E3779B1
    start = torch.from_numpy(first.astype(np.int32)).to(device, non_blocking=True)
    index = torch.arange(count, dtype=torch.int32, device=device)
    return scrambled(start[:, None] + index * (0x85EBCA77 - 2**32))


def uniforms(seeds: NDArray[np.float32], count: int, device: torch.device) -> Tensor:
    """Numbers in [0, 1), float32 of shape (n, count); see `bits`."""
    return (bits(seeds, count, device) >> 8).bitwise_and_(0xFFFFFF).float() / 2**24


def normals(seeds: NDArray[np.float32], count: int, device: torch.device) -> Tensor:
    """Standard normal numbers, float32 of shape (n, count); see `bits`.

    Notes
    -----
    Two from each hash, by Box and Muller: 16 bits are the angle, 16 the radius, so that none is
    beyond 4.8.
    """
    drawn = bits(seeds, (count + 1) // 2, device)
    radius = ((drawn & 0xFFFF).float() + 0.5).div_(2**16).log_().mul_(-2).sqrt_()
    angle = (drawn >> 16).float().mul_(2 * math.pi / 2**16)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :count]
