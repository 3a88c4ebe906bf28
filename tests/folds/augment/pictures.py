"""Small images and tables for the tests of augmentation."""

import json

import numpy as np
import torch

from folds.augment import make_policy, to_input
from folds.config.policies import OPERATIONS, canonical
from folds.sampling import uniform_table

SIDE = 24
SINGLES = [n for n, op in OPERATIONS.items() if op.kind not in ("chains", "mixing")]
CHAINS = [n for n, op in OPERATIONS.items() if op.kind == "chains"]
MIXERS = [n for n, op in OPERATIONS.items() if op.kind == "mixing"]


def pixels(count=6, side=SIDE, low=0, high=256):
    """Noise, uint8 (count, side, side, 3)."""
    generator = torch.Generator().manual_seed(count)
    shape = (count, side, side, 3)
    return torch.randint(low, high, shape, generator=generator).to(torch.uint8)


def smooth(count=6, side=SIDE):
    """Coarse patches of colour, float32 (count, 3, side, side): less changed by interpolation."""
    generator = torch.Generator().manual_seed(count)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")


def images(count=6, side=SIDE, low=0, high=256):
    return to_input(pixels(count, side, low, high), side)


def of(*lines):
    """The policy of some lines."""
    return make_policy(canonical(json.loads(json.dumps(lines))))


def table(policy, rows, epoch=0):
    return uniform_table(5, epoch, rows, policy.columns)


def numbers(count, columns, seed=0):
    return np.random.default_rng(seed).random((count, columns), dtype=np.float32)
