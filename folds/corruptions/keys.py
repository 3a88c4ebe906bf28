"""Randomness of a corruption: a pure function of the image's id and the corruption's name."""

import hashlib
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from folds.arrays import Floats

Words = NDArray[np.uint64]
_STEP = np.uint64(0x9E3779B97F4A7C15)


def keys_of(ids: Iterable[str]) -> Tensor:
    """Hash names of images (BLAKE2b, the first 8 bytes, little-endian).

    Returns
    -------
    Tensor of int64, shape (B,)
        On the CPU, where `folds.corruptions.corrupt` needs them.
    """
    return torch.tensor([_signed(str(name)) for name in ids], dtype=torch.int64)


def numbers_of(keys: Tensor, name: str, columns: int) -> Floats:
    """Uniform numbers of a corruption for each image.

    Parameters
    ----------
    keys : Tensor of int64, shape (B,)
        Of `keys_of`.
    name : str
        Of the corruption.
    columns : int
        Numbers an image.

    Returns
    -------
    ndarray of float32, shape (B, columns)
        In [0, 1), multiples of 2**-24, as `folds.augment.noise` wants them.

    Notes
    -----
    Row b depends on ``keys[b]`` and the name alone; column c does not depend on their number.
    """
    salt = _signed(name) % 2**64
    start = keys.cpu().numpy().view(np.uint64) ^ np.uint64(salt)
    index = np.arange(1, columns + 1, dtype=np.uint64) * _STEP
    return (_mixed(start[:, None] + index) >> np.uint64(40)).astype(np.float32) / np.float32(2**24)


def _signed(text: str) -> int:
    """First 8 bytes of a text's BLAKE2b, as a number that fits int64."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _mixed(value: Words) -> Words:
    """Mix the bits: the finaliser of SplitMix64 (Steele et al., 2014); products wrap around."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
