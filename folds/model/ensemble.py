"""Several networks that answer as one: from pixels to probabilities, as training looked at them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from folds.augment import to_input
from folds.augment.tta import views
from folds.model.backbone import Classifier
from folds.model.typicality import Typicality


class Outputs(NamedTuple):
    """What networks say of B images.

    Parameters
    ----------
    probabilities : Tensor of float32, shape (B, C)
    typicality : Tensor of float32, shape (B,), optional
        The geometric mean of the members' p-values, see `folds.model.typicality.Typicality`.
    """

    probabilities: Tensor
    typicality: Tensor | None


class Ensemble(nn.Module):
    """Mean of the probabilities of one or more members, each averaged over its views and tempered.

    Parameters
    ----------
    members : sequence of Classifier
        Of the same classes.
    size : int
        Side of the networks' input in pixels.
    tta : str
        Test-time augmentation, see `folds.augment.tta.views`.
    temperature : float
        See `tempered`.
    typicalities : sequence of Typicality
        Of each member, or none.
    """

    def __init__(
        self,
        members: Sequence[Classifier],
        size: int,
        tta: str,
        temperature: float,
        typicalities: Sequence[Typicality] = (),
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.typicalities = nn.ModuleList(typicalities)
        self.size, self.temperature = size, temperature
        self.views = views(tta)

    def forward(self, pixels: Tensor) -> Outputs:
        """What is said of images (B, H, W, 3), uint8."""
        return self.of_inputs(to_input(pixels, self.size))

    def of_inputs(self, images: Tensor) -> Outputs:
        """What is said of images (B, 3, size, size), float32 in [0, 1]."""
        stacked = torch.cat([view(images) for view in self.views])  # one pass for all views
        means, typical = [], []
        typicalities: list[Any] = list(self.typicalities) or [None] * len(self.members)
        members: list[Any] = list(self.members)
        for member, typicality in zip(members, typicalities, strict=True):
            output, features = member.halfway(stacked)
            logits = member(output, start=member.middle)
            means.append(tempered(self._mean(logits), self.temperature))
            if typicality is not None:
                plain = features.reshape(len(self.views), -1, features.shape[1])[0]
                typical.append(typicality(plain))
        return Outputs(torch.stack(means).mean(dim=0), geometric_mean(typical) if typical else None)

    def _mean(self, logits: Tensor) -> Tensor:
        """Probabilities (B, C) of logits (views * B, C)."""
        probabilities = logits.float().softmax(dim=1)
        return probabilities.reshape(len(self.views), -1, logits.shape[1]).mean(dim=0)


def geometric_mean(values: Sequence[Tensor], shares: Sequence[float] | None = None) -> Tensor:
    """Of several tensors, which count by shares; default: alike."""
    shares = shares or [1 / len(values)] * len(values)
    logarithms = [share * one.log() for share, one in zip(shares, values, strict=True)]
    return torch.stack(logarithms).sum(dim=0).exp()


def tempered(probabilities: Tensor, temperature: float) -> Tensor:
    """Make probabilities (B, C) less sure, with a temperature above 1, or surer, below it.

    Their logarithms are divided by the temperature: the order of the classes stays.
    """
    if temperature == 1:
        return probabilities
    return (probabilities.log() / temperature).softmax(dim=1)
