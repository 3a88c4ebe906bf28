"""Mixing an image with another one of its global batch, and its label with the other's.

The partner is chosen within the global batch, by the image's own row of the table, so it is the
same for one worker and for eight: a worker fetches the partners that are not in its part.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import betaincinv
from torch import Tensor

from folds.arrays import Floats, Ints
from folds.augment.lab import moved, statistics, to_lab
from folds.augment.masks import boxes, inside
from folds.config.policies import Entry

Mixed = tuple[Tensor, Floats]  # images, and the shares of their own labels
_NUMBERS = 4  # the most that a mixing operation uses


@dataclass(frozen=True)
class Mixing:
    """With whom and how images are mixed.

    Parameters
    ----------
    chosen : ndarray of int64, shape (n,)
        Which of the policy's mixing operations, -1 for none: at most one an image.
    partners : ndarray of int64, shape (n,)
        Places in the global batch; an image's own place where nothing is mixed.
    numbers : ndarray of float32, shape (n, 4)
        What the operation uses.
    """

    chosen: Ints
    partners: Ints
    numbers: Floats

    def part(self, places: Ints) -> "Mixing":
        """The same for some of the images."""
        return Mixing(self.chosen[places], self.partners[places], self.numbers[places])


def draw(entries: Sequence[Entry], numbers: Sequence[Floats], labels: Ints) -> Mixing:
    """Choose operations and partners for a global batch.

    Parameters
    ----------
    entries : sequence of Entry
        Of kind ``mixing``; the first whose number is below its probability acts.
    numbers : sequence of ndarray of float32, shape (B, k) each
        The columns of each entry.
    labels : ndarray of int64, shape (B,)
        For ``within_class``.
    """
    count = len(labels)
    places = np.arange(count)
    mixing = Mixing(np.full(count, -1), places.copy(), np.zeros((count, _NUMBERS), np.float32))
    for index, (entry, own) in enumerate(zip(entries, numbers, strict=True)):
        groups = labels if entry.op == "within_class" else np.zeros(count, np.int64)
        partners = _partners(own[:, 2], groups)
        acts = (own[:, 0] < entry.p) & (mixing.chosen < 0) & (partners != places)
        mixing.chosen[acts] = index
        mixing.partners[acts] = partners[acts]
        mixing.numbers[acts, : own.shape[1] - 1] = own[acts, 1:]
    return mixing


def _partners(numbers: NDArray[np.float32], groups: Ints) -> Ints:
    """Another place of the same group for each, all equally likely; its own if it is alone."""
    partners = np.arange(len(groups))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        if len(members) > 1:
            steps = 1 + (numbers[members] * (len(members) - 1)).astype(np.int64)
            steps = np.minimum(steps, len(members) - 1)
            partners[members] = members[(np.arange(len(members)) + steps) % len(members)]
    return partners


def mix(
    entries: Sequence[Entry], image: Tensor, partner: Tensor, mixing: Mixing
) -> tuple[Tensor, Tensor]:
    """Mix images with their partners.

    Parameters
    ----------
    entries : sequence of Entry
        As given to `draw`.
    image, partner : Tensor of float32, shape (n, 3, S, S)
        In [0, 1].
    mixing : Mixing
        For these images.

    Returns
    -------
    images : Tensor of float32, shape (n, 3, S, S)
    shares : Tensor of float32, shape (n,)
        Of an image's own label in its target; the rest is its partner's.
    """
    shares = np.ones(len(image), np.float32)
    mixed = image.clone()
    for index, entry in enumerate(entries):
        rows = np.flatnonzero(mixing.chosen == index)
        if len(rows):
            at = torch.from_numpy(rows).to(image.device, non_blocking=True)
            numbers = mixing.numbers[rows]
            operation = _OPERATIONS[entry.op]
            mixed[at], shares[rows] = operation(image[at], partner[at], numbers, entry)
    return mixed, torch.from_numpy(shares).to(image.device, non_blocking=True)


def _mixup(image: Tensor, partner: Tensor, numbers: Floats, entry: Entry) -> Mixed:
    """Blend by a number of the Beta distribution (Zhang et al., mixup, 2018)."""
    weight = _beta(numbers, entry)
    return _blend(image, partner, weight), weight


def _cutmix(image: Tensor, partner: Tensor, numbers: Floats, entry: Entry) -> Mixed:
    """Paste a rectangle of the partner; shares are counted in pixels (Yun et al., CutMix, 2019)."""
    side = np.sqrt(1 - _beta(numbers, entry))
    box = boxes(np.column_stack([side, side]), numbers[:, 2:], image.shape[-1])
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    shares = 1 - area / image.shape[-1] ** 2
    return torch.where(inside(box, image), partner, image), shares.astype(np.float32)


def _fourier(image: Tensor, partner: Tensor, numbers: Floats, entry: Entry) -> Mixed:
    """Blend the low frequencies' amplitudes, keep the phases and the label.

    What colours and light are like is in the amplitudes, what is seen in the phases (Yang and
    Soatto, FDA, 2020; Xu et al., A Fourier-based framework, 2021).
    """
    ours, theirs = torch.fft.rfft2(image), torch.fft.rfft2(partner)
    side = image.shape[-1]
    rows = torch.fft.fftfreq(side, device=image.device).abs() <= entry.strengths["band"]
    columns = torch.fft.rfftfreq(side, device=image.device).abs() <= entry.strengths["band"]
    low = rows[:, None] & columns
    weight = torch.from_numpy(entry.strengths["max"] * numbers[:, 0]).to(image.device)
    amplitude = torch.lerp(ours.abs(), theirs.abs(), weight.view(-1, 1, 1, 1) * low)
    mixed = torch.fft.irfft2(torch.polar(amplitude, ours.angle()), s=(side, side))
    return mixed.clamp_(0, 1), np.ones(len(image), np.float32)


def _colour_exchange(image: Tensor, partner: Tensor, numbers: Floats, entry: Entry) -> Mixed:
    """Take on the partner's colours in Lab, in part, whole or beyond; the label stays.

    References
    ----------
    Reinhard et al., Color Transfer between Images, 2001.
    Li et al., On Feature Normalization and Data Augmentation (moment exchange), CVPR 2021.
    """
    weight = torch.from_numpy(entry.strengths["max"] * numbers[:, 0]).to(image.device)
    ours, theirs = to_lab(image), statistics(to_lab(partner))
    mean, spread = statistics(ours)
    shift = weight.view(-1, 1, 1, 1) * (theirs.mean - mean)
    factor = (theirs.spread / spread) ** weight.view(-1, 1, 1, 1)
    return moved(ours, shift, factor), np.ones(len(image), np.float32)


def _within_class(image: Tensor, partner: Tensor, numbers: Floats, entry: Entry) -> Mixed:
    """Blend two images of a class: the label stays as it is."""
    mixed = _blend(image, partner, 1 - entry.strengths["max"] * numbers[:, 0])
    return mixed, np.ones(len(image), np.float32)


_OPERATIONS = {
    "mixup": _mixup,
    "cutmix": _cutmix,
    "fourier": _fourier,
    "colour_exchange": _colour_exchange,
    "within_class": _within_class,
}


def _beta(numbers: Floats, entry: Entry) -> Floats:
    """Beta(alpha, alpha) by its inverse distribution function."""
    alpha = entry.strengths["alpha"]
    return betaincinv(alpha, alpha, numbers[:, 0].astype(np.float64)).astype(np.float32)


def _blend(image: Tensor, partner: Tensor, weight: Floats) -> Tensor:
    """The image with a weight (n,) from 0 to 1, and the partner with the rest."""
    sent = torch.from_numpy(weight).to(image.device, non_blocking=True)
    return torch.lerp(partner, image, sent.view(-1, 1, 1, 1))
