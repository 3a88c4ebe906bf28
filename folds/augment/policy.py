"""A policy at work: from rows of the table to augmented images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from folds.arrays import Floats, Ints
from folds.augment import draws
from folds.augment.colour import recolour
from folds.augment.draws import Draw
from folds.augment.geometry import warp
from folds.augment.mixing import Mixing, mix
from folds.augment.mixing import draw as draw_mixing
from folds.augment.pixels import OPERATIONS
from folds.config.policies import KINDS, Entry, entries
from folds.config.policies import OPERATIONS as KNOWN

_DRAWN_AS = {"rand_augment": draws.rand_augment, "trivial_augment": draws.trivial_augment}


@dataclass(frozen=True)
class Policy:
    """Operations with probabilities and strengths, applied to each image by its row of a table.

    Parameters
    ----------
    entries : tuple of Entry
        The lines; see `folds.config.policies`.

    Notes
    -----
    - Whatever their order in the list, operations act in this one: geometry (one warp), linear
      colour (one matrix), other functions of a pixel's value and place, filters, JPEG and noise,
      masks, AugMix on the result of all these, mixing. Within geometry, colour and each later
      kind the order is the list's.
    - An image's result is a function of its pixels and its row alone; with mixing also of its
      partner's.
    - Where nothing was drawn for an image it is `to_input`'s.
    """

    entries: tuple[Entry, ...]

    @property
    def columns(self) -> int:
        """Uniform numbers that an image needs each epoch."""
        return sum(draws.columns(entry) for entry in self.entries)

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with each other."""
        return any(KNOWN[entry.op].kind == "mixing" for entry in self.entries)

    def apply(self, image: Tensor, numbers: Floats) -> Tensor:
        """Everything but mixing.

        Parameters
        ----------
        image : Tensor of float32, shape (B, 3, S, S)
            In [0, 1]; may be overwritten.
        numbers : ndarray of float32, shape (B, columns)
            In [0, 1); row b belongs to image b.

        Returns
        -------
        Tensor of float32, shape (B, 3, S, S)
            In [0, 1].
        """
        drawn: list[Draw] = []
        for entry, own in self._parts(numbers):
            if KNOWN[entry.op].kind != "mixing" and entry.op != "aug_mix":
                drawn += _DRAWN_AS.get(entry.op, draws.single)(entry, own)
        image = perform(image, drawn)
        for entry, own in self._parts(numbers):
            if entry.op == "aug_mix":
                image = _aug_mix(image, entry, own)
        return image

    def mixing(self, numbers: Floats, labels: Ints) -> Mixing:
        """Choose partners for a global batch; see `folds.augment.mixing.draw`."""
        mixers = [part for part in self._parts(numbers) if KNOWN[part[0].op].kind == "mixing"]
        return draw_mixing([entry for entry, _ in mixers], [own for _, own in mixers], labels)

    def mix(self, image: Tensor, partner: Tensor, mixing: Mixing) -> tuple[Tensor, Tensor]:
        """Mix augmented images with their partners; see `folds.augment.mixing.mix`."""
        mixers = [entry for entry in self.entries if KNOWN[entry.op].kind == "mixing"]
        return mix(mixers, image, partner, mixing)

    def _parts(self, numbers: Floats) -> Iterator[tuple[Entry, Floats]]:
        """Each entry and its columns."""
        first = 0
        for entry in self.entries:
            last = first + draws.columns(entry)
            yield entry, numbers[:, first:last]
            first = last


@cache
def make_policy(text: str) -> Policy:
    """Make the policy that `folds.config.policies.canonical` has written."""
    return Policy(entries(text))


def perform(image: Tensor, drawn: Sequence[Draw]) -> Tensor:
    """Do what was drawn, in the order of `policies.KINDS`; may overwrite the images."""
    kinds: dict[str, list[Draw]] = {kind: [] for kind in KINDS}
    for draw in drawn:
        kinds[draw.kind].append(draw)
    image = recolour(warp(image, kinds["geometry"]), kinds["colour"])
    for kind in ("pointwise", "filter", "degrade", "mask"):
        for draw in kinds[kind]:
            image = _operate(image, draw)
    return image


def _operate(image: Tensor, draw: Draw) -> Tensor:
    """Do an operation to those images of a batch that drew it; may overwrite them."""
    operation = OPERATIONS[draw.op]
    if len(draw.rows) == len(image):
        return operation(image, draw.numbers, **draw.strengths)
    rows = torch.from_numpy(draw.rows).to(image.device, non_blocking=True)
    changed = operation(image[rows], draw.numbers, **draw.strengths)
    return image.index_copy_(0, rows, changed)


def _aug_mix(image: Tensor, entry: Entry, numbers: Floats) -> Tensor:
    """Blend images with their chains.

    References
    ----------
    Hendrycks et al., AugMix, 2020; without its consistency loss.
    """
    chains, weights, rows = draws.chains(entry, numbers)
    if not len(rows):
        return image
    at = torch.from_numpy(rows).to(image.device, non_blocking=True)
    sent = torch.from_numpy(np.ascontiguousarray(weights.T)).to(image.device, non_blocking=True)
    chosen = image[at]
    mixed = chosen * sent[0].view(-1, 1, 1, 1)
    for chain, weight in zip(chains, sent[1:], strict=True):
        mixed.addcmul_(perform(chosen.clone(), chain), weight.view(-1, 1, 1, 1))
    return image.index_copy_(0, at, mixed.clamp_(0, 1))
