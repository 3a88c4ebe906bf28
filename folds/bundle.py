"""A trained model as two files, safetensors and JSON, and the predictor made from them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save
from torch import Tensor

from folds.augment import to_input
from folds.backbone import Classifier
from folds.evaluate import softmax
from folds.images.resize import cover

FORMAT = "crossfold-model/1"


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
    """

    backbone: str
    class_names: tuple[str, ...]
    size: int


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
        content = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise ValueError(f"{folder}: not a {FORMAT} bundle")
        self.card = ModelCard(**{**content, "class_names": tuple(content["class_names"])})
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        model = Classifier(
            self.card.backbone, classes=len(self.card.class_names), size=self.card.size
        )
        model.load_state_dict(load_file(folder / "model.safetensors"))
        self.model = model.to(self.device).to(memory_format=torch.channels_last).eval()

    @torch.inference_mode()
    def predict(self, images: NDArray[np.uint8], *, batch: int = 128) -> NDArray[np.float32]:
        """Class probabilities.

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
            parts.append(softmax(self.model(image).float().cpu().numpy()))
        return np.concatenate(parts)

    def _sized(self, block: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = block.shape[1:3]
        if height == width <= self.card.size:
            return np.ascontiguousarray(block)
        return np.stack([cover(Image.fromarray(one), self.card.size) for one in block])
