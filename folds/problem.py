"""What all folds of a run share, settled once before the first of them starts."""

from dataclasses import dataclass

from torch import Tensor

from folds.bundle import ModelCard
from folds.config import Config
from folds.errors import UserError
from folds.images import ImageSet
from folds.manifest import SplitManifest
from folds.stages import Stage


@dataclass(frozen=True)
class Problem:
    """Everything a fold's result depends on (law 1).

    Parameters
    ----------
    config : Config
        Of which only ``config.science`` may matter.
    images : ImageSet
        All images; a fold sees rows of them.
    splits : SplitManifest
        Who is validated where.
    size : int
        Side of the network's input in pixels.
    stages : tuple of Stage
        The schedule that is trained: the configured one, or one stage without pretrained weights.
    pretrained : dict of str to Tensor, or None
        State of the backbone before training; None: random.

    Raises
    ------
    UserError
        The batch is larger than the smallest training part.
    """

    config: Config
    images: ImageSet
    splits: SplitManifest
    size: int
    stages: tuple[Stage, ...]
    pretrained: dict[str, Tensor] | None

    @property
    def card(self) -> ModelCard:
        """What a model needs beside its weights."""
        return ModelCard(self.config.model.backbone, self.images.class_names, self.size)

    def __post_init__(self) -> None:
        smallest = min(
            int(((number != fold) & (number >= 0)).sum())
            for number in self.splits.fold
            for fold in range(self.splits.folds)
        )
        if self.config.train.batch_size > smallest:
            raise UserError(
                f"--batch-size {self.config.train.batch_size}: larger than the smallest training "
                f"part, {smallest} images; lower it to {smallest} or less"
            )
