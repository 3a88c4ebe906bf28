"""A bundle at work: class probabilities of images of any size."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from folds.adaptation import Appearance, bring
from folds.arrays import Floats
from folds.augment import to_input
from folds.config.adaptation import check_adapt
from folds.errors import reason
from folds.evaluation.label_shift import shifted
from folds.model.adapting import Plan, looked_at, settle, table_norms
from folds.model.backbone import Classifier
from folds.model.bundle import ModelCard
from folds.model.ensemble import Ensemble
from folds.model.folding import fold, undivided
from folds.model.inputs import ANYWHERE, Pixels, batches, counted, taken
from folds.model.names import Architecture, check_backbone
from folds.model.typicality import Typicality

_FEW = 10**7  # parameters that no memory is filled with


@dataclass(frozen=True)
class Answers:
    """What a model says of N images.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (N, C)
        Rows sum to 1.
    typicality : ndarray of float32, shape (N,), optional
        How often an image like training's is as unlike them, see `folds.model.typicality`; None
        where the model does not know.
    """

    probabilities: Floats
    typicality: Floats | None = None


class Opened(ABC):
    """A bundle at work."""

    @property
    @abstractmethod
    def knows_typicality(self) -> bool:
        """Whether it gives `Answers.typicality`."""

    @abstractmethod
    def answer(
        self,
        images: Any,
        *,
        batch: int = 128,
        folder: Path | None = ANYWHERE,
        adapt: str | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> Answers:
        """What the model says of images, looked at and tempered as they were scored.

        Parameters
        ----------
        images : ndarray of integers, shape (N, H, W, 3), DataFrame, dict or list of dicts
            RGB, or a table, see `folds.model.inputs.batches`; brought to the network's input as
            they were for training, see `folds.images.resize`.
        batch : int
            Images at a time.
        folder : Path, optional
            Where a table's paths may lie; None: nowhere.
        adapt : str, optional
            What is done where the images are unlike training's, see
            `folds.config.adaptation.check_adapt`; default: as the card says.
        tell : callable
            Hears, in a line each, what was asked for and is not done.

        Returns
        -------
        Answers
            With ``bn`` or ``prior`` they depend on all images that are asked about.

        Raises
        ------
        ValueError
            Something else, or an image that cannot be read; or the model does not know what its
            training's images looked like.
        """

    def predict(self, images: Any, **how: Any) -> Floats:
        """Class probabilities (N, C), see `answer`, which takes the same."""
        return self.answer(images, **how).probabilities


class Predictor(Opened):
    """Class probabilities of images of any size, on any machine.

    Parameters
    ----------
    folder : Path
        A bundle.
    device : str, optional
        Default: the GPU if there is one.

    Raises
    ------
    OSError
        A file is not there.
    ValueError
        A file is damaged, or they do not fit together.
    UserError
        Timm does not have the backbone.
    """

    def __init__(self, folder: Path, device: str | None = None) -> None:
        self.card = ModelCard.read(folder / "model.json")
        check_backbone(self.card.backbone)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.folder = folder
        files = [folder / name for name in self.card.typicality_files]
        known = files if all(file.exists() for file in files) else []
        self.typicalities = [Typicality.read(file).to(self.device) for file in known]
        members = self._members()
        if self.typicalities:
            blank = torch.zeros(1, 3, self.card.size, self.card.size, device=self.device)
            _, features = members[0].halfway(blank)
            if {one.means.shape[1] for one in self.typicalities} != {features.shape[1]}:
                raise ValueError(f"{self.card.typicality_files[0]}: is of another network")
        for member in members:
            fold(undivided(member, member.middle))  # what lies there is looked at
        self.model = self._together(members, self.typicalities)

    @property
    def knows_typicality(self) -> bool:
        """See `Opened.knows_typicality`."""
        return bool(self.typicalities)

    def _members(self) -> list[Classifier]:
        """The networks as they were trained, nothing of them folded."""
        members = [self._member(self.folder / name) for name in self.card.files]
        last = torch.channels_last
        return [member.to(self.device).to(memory_format=last) for member in members]

    def _together(
        self, members: Sequence[Classifier], typicalities: Sequence[Typicality]
    ) -> Ensemble:
        card = self.card
        return Ensemble(members, card.size, card.tta, card.temperature, typicalities).eval()

    def _member(self, file: Path) -> Classifier:
        card = self.card
        classes = len(card.class_names)
        try:
            weights = load_file(file)
        except SafetensorError as error:
            raise ValueError(f"{file.name}: is damaged ({reason(error)})") from None
        # a small file may name a network that fills the memory
        known = sum(tensor.numel() for tensor in weights.values())
        if Architecture.of(card.backbone).parameters(card.size) > 2 * known + _FEW:
            raise ValueError(f"{file.name}: has too few weights for {card.backbone}")
        member = Classifier(card.backbone, classes=classes, size=card.size, head=card.head)
        try:
            member.load_state_dict(weights)
        except RuntimeError as error:  # a line for each that is missing
            raise ValueError(f"{file.name}: is not of {card.backbone} ({reason(error)})") from None
        return member.eval()

    @torch.inference_mode()
    def answer(
        self,
        images: Any,
        *,
        batch: int = 128,
        folder: Path | None = ANYWHERE,
        adapt: str | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> Answers:
        """See `Opened.answer`."""
        adapt = self.card.adapt if adapt is None else check_adapt(adapt)
        look = partial(self._blocks, batch=batch, folder=folder)
        if adapt == "none":
            return self._answers(self.model, look(images))
        appearance = self.card.appearance
        if appearance is None:
            raise ValueError(
                f"--adapt {adapt}: the model does not know what its training's images looked like; "
                "train it anew, or leave --adapt out"
            )

        count = counted(images)

        @cache
        def sample() -> list[Tensor]:
            return list(look(taken(images, looked_at(count))))

        own = self.model.members
        plan = settle(
            own, lambda batch: self.model.of_inputs(batch)[0], sample, count, appearance, adapt
        )
        if plan.told is not None:
            tell(plan.told)
        blocks = (bring(block, appearance, plan.kinds) for block in look(images))
        with self._adapted(sample, appearance, plan) as model:
            found = self._answers(model, blocks)
        if "prior" not in plan.kinds:
            return found
        shares = np.array(appearance.shares)
        return replace(found, probabilities=shifted(found.probabilities, shares))

    @contextmanager
    def _adapted(
        self, sample: Callable[[], Sequence[Tensor]], appearance: Appearance, plan: Plan
    ) -> Iterator[Ensemble]:
        """The networks as they are for a table that is taken as a whole, or else as they are."""
        if not plan.whole:
            yield self.model
            return
        # only batch norm that is not folded can have other statistics
        members: list[Any] = self._members() if "bn" in plan.kinds else list(self.model.members)
        with table_norms(members, sample, appearance, plan):
            typicalities = []
            if self.typicalities:
                images = [bring(batch, appearance, plan.kinds) for batch in sample()]
                typicalities = [
                    typicality.adapted(torch.cat([member.halfway(batch)[1] for batch in images]))
                    for member, typicality in zip(members, self.typicalities, strict=True)
                ]
            yield self._together(members, typicalities)

    def _blocks(self, images: Any, *, batch: int, folder: Path | None) -> Iterator[Tensor]:
        """The network's inputs (B, 3, size, size) for what it is asked."""
        card, fewer = self.card, max(batch // len(self.model.views), 1)  # all views at once
        for block in batches(
            images, size=card.size, batch=fewer, folder=folder, levels=card.levels
        ):
            yield self._inputs(block)

    def _answers(self, model: Ensemble, blocks: Iterable[Tensor]) -> Answers:
        """What a network says of inputs that come in parts."""
        none = [np.zeros((0, len(self.card.class_names)), np.float32)]
        outputs = [model.of_inputs(block) for block in blocks]
        found = np.concatenate(none + [output.probabilities.cpu().numpy() for output in outputs])
        if not self.typicalities:
            return Answers(found)
        each = [output.typicality for output in outputs if output.typicality is not None]
        return Answers(found, torch.cat([torch.zeros(0), *(one.cpu() for one in each)]).numpy())

    def _inputs(self, block: Sequence[Pixels]) -> Tensor:
        """Bring images of one size and another to the network's, in their order."""
        runs = [np.stack(list(run)) for _, run in groupby(block, np.shape)]
        pixels = [torch.from_numpy(run).to(self.device) for run in runs]
        return torch.cat([to_input(run, self.card.size) for run in pixels])
