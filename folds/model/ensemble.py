"""Several networks that answer as one: from pixels to probabilities, as training looked at them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from folds.augment import to_input
from folds.augment.tta import views
from folds.model.backbone import Classifier


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
    """

    def __init__(
        self, members: Sequence[Classifier], size: int, tta: str, temperature: float
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.size, self.temperature = size, temperature
        self.views = views(tta)

    def forward(self, pixels: Tensor) -> Tensor:
        """Probabilities (B, C), float32, of images (B, H, W, 3), uint8."""
        return self.of_inputs(to_input(pixels, self.size))

    def of_inputs(self, images: Tensor) -> Tensor:
        """Probabilities (B, C) of images (B, 3, size, size), float32 in [0, 1]."""
        stacked = torch.cat([view(images) for view in self.views])  # one pass for all views
        means = [self._mean(member(stacked)) for member in self.members]
        return torch.stack([tempered(mean, self.temperature) for mean in means]).mean(dim=0)

    def _mean(self, logits: Tensor) -> Tensor:
        """Probabilities (B, C) of logits (views * B, C)."""
        probabilities = logits.float().softmax(dim=1)
        return probabilities.reshape(len(self.views), -1, logits.shape[1]).mean(dim=0)


def tempered(probabilities: Tensor, temperature: float) -> Tensor:
    """Make probabilities (B, C) less sure, with a temperature above 1, or surer, below it.

    Their logarithms are divided by the temperature: the order of the classes stays.
    """
    if temperature == 1:
        return probabilities
    return (probabilities.log() / temperature).softmax(dim=1)
