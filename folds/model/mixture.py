"""Several bundles as one: a weighted mean of models that differ in more than their weights.

::

    model.json              format, classes, weights, and what the models take, see `MixtureCard`
    part-0/, part-1/, ...   a bundle each, see `folds.model.bundle`
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from folds.documents import read_json_file
from folds.errors import UserError, reason
from folds.model.bundle import ModelCard
from folds.model.ensemble import Outputs, geometric_mean
from folds.model.predictor import Answers, Opened, Predictor

FORMAT = "crossfold-mixture/1"
_MOST_PARTS, _MOST_WEIGHT = 1000, 10**9


class BundleError(UserError, ValueError):
    """A bundle that cannot be used; one line says why."""


@dataclass(frozen=True)
class MixtureCard:
    """What a mixture is made of.

    Parameters
    ----------
    weights : tuple of int
        Of each part, above 0.
    parts : tuple of ModelCard
        One or more, of the same classes in the same order.

    Raises
    ------
    ValueError
        There are no parts, classes differ, or a weight is not above 0.
    """

    weights: tuple[int, ...]
    parts: tuple[ModelCard, ...]

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.parts) or min(self.weights, default=0) < 1:
            raise ValueError(f"{len(self.parts)} models with weights {list(self.weights)}")
        if len(self.parts) > _MOST_PARTS or max(self.weights) > _MOST_WEIGHT:
            raise ValueError(f"more than {_MOST_PARTS} models, or a weight above {_MOST_WEIGHT:,}")
        if len({part.class_names for part in self.parts}) > 1:
            raise ValueError("the models have different classes")

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self.parts[0].class_names

    @property
    def size(self) -> int:
        """The largest side of the networks' inputs in pixels."""
        return max(part.size for part in self.parts)

    @property
    def members(self) -> int:
        """How many networks there are."""
        return sum(part.members for part in self.parts)

    @property
    def backbone(self) -> str:
        """Names of the backbones, each once."""
        return " + ".join(dict.fromkeys(part.backbone for part in self.parts))

    @property
    def inputs(self) -> list[tuple[int, float | None]]:
        """Each side that a part takes with the levels by which it decodes files, once."""
        return list(dict.fromkeys((part.size, part.levels) for part in self.parts))

    @property
    def folders(self) -> list[str]:
        """Names of the parts' folders."""
        return [f"part-{number}" for number in range(len(self.parts))]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the cards of a mixture and of its parts.

        Raises
        ------
        ValueError
            It has another format, or is damaged.
        """
        content = read_json_file(folder / "model.json")
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"{folder}: not a {FORMAT} bundle")
        weights = content.get("weights")
        if not isinstance(weights, list) or not all(type(weight) is int for weight in weights):
            raise ValueError(f"{folder}: its weights are no list of whole numbers")
        weights = tuple(weights)
        names = [f"part-{number}" for number in range(len(weights))]
        return cls(weights, tuple(ModelCard.read(folder / name / "model.json") for name in names))

    def written(self) -> bytes:
        """The content of ``model.json``."""
        content = {
            "format": FORMAT,
            "class_names": self.class_names,
            "size": self.size,
            "levels": self.parts[0].levels,
            "inputs": self.inputs,
            "members": self.members,
            "weights": self.weights,
        }
        return json.dumps(content, indent=2).encode()


def write_mixture(folders: Sequence[Path], weights: Sequence[int], target: Path) -> MixtureCard:
    """Make one bundle of several.

    Parameters
    ----------
    folders : sequence of Path
        Bundles of the same classes; backbones, sizes, views and temperatures may differ.
    weights : sequence of int
        How much each counts.
    target : Path
        Folder to write.

    Raises
    ------
    ValueError
        See `MixtureCard`.

    Notes
    -----
    It predicts the mean, by the weights, of what the bundles predict.
    """
    cards = tuple(ModelCard.read(folder / "model.json") for folder in folders)
    card = MixtureCard(tuple(weights), cards)
    for folder, name in zip(folders, card.folders, strict=True):
        shutil.copytree(folder, target / name)
    (target / "model.json").write_bytes(card.written())
    return card


class WeightedMean(nn.Module):
    """Mean of the probabilities of several networks, each of which counts by a weight.

    Parameters
    ----------
    models : sequence of nn.Module
        From images (B, H, W, 3), uint8, to `folds.model.ensemble.Outputs`.
    weights : sequence of int
    """

    def __init__(self, models: Sequence[nn.Module], weights: Sequence[int]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.shares = [weight / sum(weights) for weight in weights]

    def forward(self, pixels: Tensor) -> Outputs:
        """What they say together of images (B, H, W, 3), uint8."""
        each = [model(pixels) for model in self.models]
        means = [share * one.probabilities for share, one in zip(self.shares, each, strict=True)]
        typical = [one.typicality for one in each if one.typicality is not None]
        together = geometric_mean(typical, self.shares) if len(typical) == len(each) else None
        return Outputs(torch.stack(means).sum(dim=0), together)


class MixturePredictor(Opened):
    """As `Predictor`, of a mixture: each part sees the images as its own training did.

    Parameters
    ----------
    folder : Path
        See `write_mixture`.
    device : str, optional
        Default: the GPU if there is one.
    """

    def __init__(self, folder: Path, device: str | None = None) -> None:
        self.card = MixtureCard.read(folder)
        self.parts = [Predictor(folder / name, device) for name in self.card.folders]
        self.model = WeightedMean([part.model for part in self.parts], self.card.weights)

    @property
    def knows_typicality(self) -> bool:
        """See `Opened.knows_typicality`."""
        return all(part.knows_typicality for part in self.parts)

    def answer(self, images: Any, **how: Any) -> Answers:
        """See `Opened.answer`."""
        each = [part.answer(images, **how) for part in self.parts]
        shares = np.array(self.model.shares, np.float32)
        means = np.tensordot(shares, np.stack([one.probabilities for one in each]), 1)
        typical = [one.typicality for one in each if one.typicality is not None]
        if len(typical) < len(each):
            return Answers(means)
        return Answers(means, np.exp(shares @ np.log(np.stack(typical))))


def knows_typicality(folder: Path) -> bool:
    """Whether a bundle, of whichever format, gives `Answers.typicality`."""
    mixed = read_json_file(folder / "model.json")["format"] == FORMAT
    parts = [folder / name for name in MixtureCard.read(folder).folders] if mixed else [folder]
    return all(
        (part / name).exists()
        for part in parts
        for name in ModelCard.read(part / "model.json").typicality_files
    )


def open_bundle(folder: Path, device: str | None = None) -> Predictor | MixturePredictor:
    """The predictor of a bundle, of whichever format.

    Raises
    ------
    BundleError
        It is of no format that is known, or damaged, or timm does not have its backbone.
    """
    try:
        content = read_json_file(folder / "model.json")
        mixed = isinstance(content, dict) and content.get("format") == FORMAT
        return MixturePredictor(folder, device) if mixed else Predictor(folder, device)
    except (OSError, ValueError, UserError) as error:
        raise BundleError(reason(error)) from None
