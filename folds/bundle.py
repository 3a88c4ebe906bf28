"""A trained model as two files, safetensors and JSON, and the predictor made from them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save
from torch import Tensor

from folds.augment import to_input
from folds.backbone import Classifier
from folds.images.resize import cover
from folds.shape import PLAIN_HEAD, HeadShape
from folds.tta import mean_probabilities

FORMAT = "crossfold-model/2"
_READ = (FORMAT, "crossfold-model/1")  # the first knew the plain head alone


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
        Test-time augmentation, see `folds.tta.views`.
    """

    backbone: str
    class_names: tuple[str, ...]
    size: int
    head: HeadShape = PLAIN_HEAD
    tta: str = "none"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read ``model.json``, also of the format before.

        Raises
        ------
        ValueError
            It has another format.
        """
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") not in _READ:
            raise ValueError(f"{path.parent}: not a {FORMAT} bundle")
        head = content.pop("head", asdict(PLAIN_HEAD))
        head["layers"] = tuple(head["layers"])
        names = tuple(content.pop("class_names"))
        return cls(**content, class_names=names, head=HeadShape(**head))


def bundle_files(card: ModelCard, weights: dict[str, Tensor]) -> dict[str, bytes]:
    """Contents of ``model.safetensors`` and ``model.json``."""
    content = {"format": FORMAT, **asdict(card)}
    return {
        "model.safetensors": save({n: t.contiguous() for n, t in weights.items()}),
        "model.json": json.dumps(content, indent=2).encode(),
    }


def write_bundle(folder: Path, card: ModelCard, weights: dict[str, Tensor]) -> None:
    """Write both files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in bundle_files(card, weights).items():
        (folder / name).write_bytes(content)


class Predictor:
    """Class probabilities of images of any size, on any machine.

    Parameters
    ----------
    folder : Path
        Written by `write_bundle`.
    device : str, optional
        Default: the GPU if there is one.
    """

    def __init__(self, folder: Path, device: str | None = None) -> None:
        self.card = ModelCard.read(folder / "model.json")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        model = Classifier(
            self.card.backbone,
            classes=len(self.card.class_names),
            size=self.card.size,
            head=self.card.head,
        )
        model.load_state_dict(load_file(folder / "model.safetensors"))
        self.model = model.to(self.device).to(memory_format=torch.channels_last).eval()

    @torch.inference_mode()
    def predict(self, images: NDArray[np.uint8], *, batch: int = 128) -> NDArray[np.float32]:
        """Class probabilities, with the test-time augmentation that the model was scored with.

        Parameters
        ----------
        images : ndarray of uint8, shape (N, H, W, 3)
            RGB; reduced or enlarged to the network's input as they were for training.
        batch : int
            Images at a time.

        Returns
        -------
        ndarray of float32, shape (N, C)
            Rows sum to 1.

        Raises
        ------
        ValueError
            Another dtype or shape.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(
                f"images are {images.dtype} {images.shape}; expected uint8 (N, height, width, 3)"
            )
        parts = [np.zeros((0, len(self.card.class_names)), np.float32)]
        for first in range(0, len(images), batch):
            block = self._sized(images[first : first + batch])
            image = to_input(torch.from_numpy(block).to(self.device), self.card.size)
            found = mean_probabilities(self.model, image, self.card.tta)
            parts.append(found.cpu().numpy())
        return np.concatenate(parts)

    def _sized(self, block: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = block.shape[1:3]
        if height == width <= self.card.size:
            return np.ascontiguousarray(block)
        return np.stack([cover(Image.fromarray(one), self.card.size) for one in block])
