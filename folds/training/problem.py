"""What all folds of a run share, settled once before the first of them starts."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from folds.arrays import Doubles, Ints
from folds.augment import Policy, make_policy
from folds.config import Config
from folds.config.selection import SelectBy
from folds.config.stages import Stage
from folds.errors import UserError
from folds.evaluation.costs import cost_matrix
from folds.images import ImageSet
from folds.images.external import External
from folds.model.bundle import ModelCard
from folds.splits.manifest import HOLDOUT, SplitManifest
from folds.splits.sites import units
from folds.splits.subset import nested_subset
from folds.training.balance import Balance, balanced


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
    externals : tuple of External
        Images from elsewhere, that each fold's model is scored on.
    resolved : str, optional
        The backbone's name if it was another one, see `folds.model.names.resolve`.

    Raises
    ------
    UserError
        The batch is larger than what an epoch takes of the smallest training part, it has fewer
        images than parts, a class that was given a weight or a cost is unknown, or there is no
        trained head to keep weights of (``--wise-ft``).
    """

    config: Config
    images: ImageSet
    splits: SplitManifest
    size: int
    stages: tuple[Stage, ...]
    pretrained: dict[str, Tensor] | None
    externals: tuple[External, ...] = ()
    resolved: str | None = None

    @property
    def backbone(self) -> str:
        """The name by which the backbone can be built on any machine."""
        return self.resolved or self.config.model.backbone

    @property
    def card(self) -> ModelCard:
        """What a model needs beside its weights."""
        network = self.config.model
        names = self.images.class_names
        return ModelCard(
            self.backbone, names, self.size, network.head, network.tta,
            levels=self.config.data.levels, adapt=self.config.model.adapt,
        )  # fmt: skip

    @property
    def select_by(self) -> SelectBy:
        """What models are chosen by."""
        return SelectBy.parse(self.config.evaluation.select_by)

    @property
    def costs(self) -> Doubles | None:
        """What mistakes cost, (C, C), rows being true classes; None where ``--costs`` is not given.

        Raises
        ------
        UserError
            It names a class that there is not.
        """
        return cost_matrix(self.config.evaluation.costs, self.images.class_names)

    @property
    def policy(self) -> Policy:
        """What training images are augmented by."""
        return make_policy(self.config.train.augment)

    def mixes(self, stage: Stage) -> bool:
        """Whether images are mixed in a stage: where some of the backbone trains.

        Outputs of a frozen front are those of single images. So nothing is mixed while the
        backbone is frozen, and nothing is shared where images are mixed.
        """
        return self.policy.mixes and stage.share > 0

    def needs_images(self, stage: Stage) -> bool:
        """Whether training needs more than one augmented view of an image, so images themselves.

        Where images are mixed, and where ``--consistency`` compares several views of each. Outputs
        of a frozen front are then not shared.
        """
        return self.mixes(stage) or self.compares(stage)

    def compares(self, stage: Stage) -> bool:
        """Whether a stage compares views of an image: where some of the backbone trains."""
        return self.config.optim.consistency > 0 and stage.share > 0

    def parts(self, repeat: int, fold: int, share: float = 1.0) -> tuple[Ints, Ints]:
        """Rows of a fold's training and validation part; of the first a share alone.

        See `folds.splits.subset.nested_subset`; without a validation part (a refit) share is 1.
        """
        train, held_out = self.splits.parts(repeat, fold, self.images.ids)
        if share < 1:
            whole, seed = units(self.images, self.config.split), self.config.split.seed
            labels = self.images.labels[train]
            train = train[nested_subset(labels, whole[train], share, key=(seed, repeat, fold))]
        return train, held_out

    def balance(self, train: Ints) -> Balance:
        """What is done about unequal classes in a training part of these rows."""
        labels, settings = self.images.labels[train], self.config.train
        names = self.images.class_names
        return balanced(labels, names, settings.balance, settings.class_weights)

    def __post_init__(self) -> None:
        _ = self.costs
        numbers = self.splits.of(self.images.ids)
        trains = (
            np.flatnonzero((number != fold) & (number != HOLDOUT))
            for number in numbers
            for fold in range(self.splits.folds)
        )
        smallest = min(self.balance(train).images for train in trains)
        batch, method = self.config.train.batch_size, self.config.train.balance
        if batch > smallest:
            after = "" if method == "none" else f" after --balance {method}"
            raise UserError(
                f"--batch-size {batch}: larger than the smallest training part{after}, {smallest} "
                f"images; lower it to {smallest} or less"
            )
        alpha = self.config.optim.wise_ft
        if alpha < 1 and self.stages[0].share > 0:
            raise UserError(
                f"--wise-ft {alpha:g}: needs pretrained weights, and --stages that begin with a "
                "frozen backbone, such as 0:3:1e-3"
            )
        parts = self.config.optim.accumulate
        if parts > batch:
            raise UserError(
                f"--accumulate {parts}: larger than --batch-size {batch}; lower it to {batch} or "
                "less"
            )
