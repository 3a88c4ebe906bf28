"""Trained models as safetensors and JSON.

::

    model.json           what the weights are of, see `ModelCard`
    model.safetensors    the weights; of an ensemble model-0.safetensors, model-1.safetensors, ...
    typicality.safetensors
                         of `folds.model.typicality`, if there; numbered as the weights are
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save
from torch import Tensor

from folds.adaptation import Appearance
from folds.config.adaptation import check_adapt
from folds.config.head import PLAIN_HEAD, HeadShape, check_tta
from folds.documents import read_json_file
from folds.errors import listed
from folds.model.names import MOST_SIDE, is_elsewhere
from folds.model.typicality import Typicality
from folds.model.weights import TRAINED_ON

FORMAT = "crossfold-model/4"
_MOST_MEMBERS = 1000
_READ = (  # 3: no appearance; 2: one member; 1: the plain head alone
    FORMAT, "crossfold-model/3", "crossfold-model/2", "crossfold-model/1",
)  # fmt: skip


@dataclass(frozen=True)
class ModelCard:
    """What is needed to use the weights.

    Parameters
    ----------
    backbone : str
        A timm model.
    class_names : tuple of str
        In the order of the probabilities.
    size : int
        Side of the network's input in pixels.
    head : HeadShape
        What the head is made of.
    tta : str
        Test-time augmentation, see `folds.augment.tta.views`.
    members : int
        How many networks there are, whose probabilities are averaged.
    temperature : float
        Of each member, see `folds.model.ensemble.tempered`.
    levels : float, optional
        How files with more than 8 bits a channel are decoded, see `folds.images.decode.decode`.
    adapt : str
        What is done for images unlike training's, see `folds.config.adaptation.check_adapt`.
    appearance : Appearance, optional
        What training's images look like; without it nothing can be adapted.

    Raises
    ------
    ValueError
        No member, or a temperature that is not above 0.
    """

    backbone: str
    class_names: tuple[str, ...]
    size: int
    head: HeadShape = PLAIN_HEAD
    tta: str = "none"
    members: int = 1
    temperature: float = 1.0
    levels: float | None = None
    adapt: str = "none"
    appearance: Appearance | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.members <= _MOST_MEMBERS or not 0 < self.temperature < float("inf"):
            raise ValueError(f"{self.members} members at temperature {self.temperature}")
        if not 1 <= self.size <= MOST_SIDE or not 0 < (self.levels or 1) < float("inf"):
            raise ValueError(f"images of {self.size} px a side, {self.levels} levels")
        if is_elsewhere(self.backbone):
            raise ValueError(f"backbone {self.backbone!r} is not in the bundle")
        check_tta(self.tta)
        check_adapt(self.adapt)
        if self.appearance is not None and len(self.appearance.shares) != len(self.class_names):
            raise ValueError("its appearance is of other classes")

    @property
    def files(self) -> list[str]:
        """Names of the members' files."""
        if self.members == 1:
            return ["model.safetensors"]
        return [f"model-{number}.safetensors" for number in range(self.members)]

    @property
    def typicality_files(self) -> list[str]:
        """Names of the members' files of `folds.model.typicality.Typicality`, if there are any."""
        return [name.replace("model", "typicality") for name in self.files]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read ``model.json``, also of a format before.

        Raises
        ------
        OSError
            There is none.
        ValueError
            It has another format, or values that no model has.
        """
        content = read_json_file(path)
        if not isinstance(content, dict) or content.pop("format", None) not in _READ:
            raise ValueError(f"{path.name}: not a {FORMAT} bundle")
        if unknown := content.keys() - {field.name for field in fields(cls)}:
            raise ValueError(f"{path.name}: {listed(sorted(unknown))} is nothing that a model has")
        try:
            return TypeAdapter(cls).validate_python(content)
        except ValidationError as error:
            first = error.errors()[0]
            words = [*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")]
            raise ValueError(f"{path.name}: {': '.join(words)}") from None


def bundle_files(
    card: ModelCard,
    weights: dict[str, Tensor],
    trained_on: Mapping[str, str] | None = None,
    typicality: Typicality | None = None,
) -> dict[str, bytes]:
    """Contents of the files of a bundle of one member, by name.

    Parameters
    ----------
    card : ModelCard
    weights : dict of str to Tensor
    trained_on : mapping of str to str, optional
        Digests of the images, see `folds.splits.manifest.fingerprint`; kept with the weights.
    typicality : Typicality, optional
    """
    (name,), (beside,) = card.files, card.typicality_files
    content = {name: saved(weights, trained_on), "model.json": _written(card)}
    return content if typicality is None else content | {beside: typicality.saved()}


def saved(weights: dict[str, Tensor], trained_on: Mapping[str, str] | None = None) -> bytes:
    """Weights as a safetensors file, which may say what they were trained on."""
    about = {TRAINED_ON: json.dumps(dict(trained_on))} if trained_on else None
    return save({n: t.contiguous() for n, t in weights.items()}, about)


def write_bundle(
    folder: Path,
    card: ModelCard,
    weights: dict[str, Tensor],
    trained_on: Mapping[str, str] | None = None,
    typicality: Typicality | None = None,
) -> None:
    """Write a bundle of one member, see `bundle_files`, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in bundle_files(card, weights, trained_on, typicality).items():
        (folder / name).write_bytes(content)


def with_temperature(folder: Path, target: Path, temperature: float) -> None:
    """Copy a bundle, of any number of members, with another temperature."""
    card = replace(ModelCard.read(folder / "model.json"), temperature=temperature)
    _assemble(
        target,
        card,
        [folder / name for name in card.files],
        [folder / name for name in card.typicality_files],
    )


def ensemble(folders: Sequence[Path], target: Path, temperature: float) -> None:
    """Make one bundle of several models.

    Parameters
    ----------
    folders : sequence of Path
        Bundles of one member each, alike but for their weights and temperatures.
    target : Path
        Folder to write.
    temperature : float
        Of each member.

    Raises
    ------
    ValueError
        The models differ in more than their weights, or there are none.

    Notes
    -----
    It predicts the mean of what the bundles predict that `with_temperature` makes.
    """
    cards = [ModelCard.read(folder / "model.json") for folder in folders]
    kinds = {
        replace(card, temperature=temperature, adapt="none", appearance=None) for card in cards
    }
    if len(kinds) != 1 or kinds != {replace(kind, members=1) for kind in kinds}:
        raise ValueError(f"an ensemble needs models of one kind; these are {len(kinds)} kinds")
    card = replace(
        joined_appearance(cards[0], cards), temperature=temperature, members=len(folders)
    )
    (weights,), (typicality,) = cards[0].files, cards[0].typicality_files
    _assemble(
        target,
        card,
        [folder / weights for folder in folders],
        [folder / typicality for folder in folders],
    )


def joined_appearance(card: ModelCard, cards: Sequence[ModelCard]) -> ModelCard:
    """A card with the mean appearance of several, if each has one."""
    each = [one.appearance for one in cards if one.appearance is not None]
    return replace(card, appearance=Appearance.mean(each) if len(each) == len(cards) else None)


def _assemble(
    target: Path, card: ModelCard, weights: Sequence[Path], typicalities: Sequence[Path]
) -> None:
    """Write a bundle of copies of members' files; typicalities only where all have one."""
    target.mkdir(parents=True, exist_ok=True)
    copies = list(zip(card.files, weights, strict=True))
    if all(file.exists() for file in typicalities):
        copies += zip(card.typicality_files, typicalities, strict=True)
    for name, source in copies:
        shutil.copyfile(source, target / name)
    (target / "model.json").write_bytes(_written(card))


def _written(card: ModelCard) -> bytes:
    return json.dumps({"format": FORMAT, **asdict(card)}, indent=2).encode()
