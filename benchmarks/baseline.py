"""What the cross-validations written by hand have in common: everything but the training loop.

timm, torchvision v2 transforms in a DataLoader and scikit-learn's StratifiedKFold; stages, epochs,
batch size, augmentation and label smoothing are those of the crossfold runs they stand beside.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold, train_test_split
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

LABEL_SMOOTHING = 0.1
WEIGHT_DECAY = 0.05
FROZEN_RATE, FULL_RATE = 1e-3, 5e-4


class Pictures(Dataset[tuple[Tensor, int]]):
    """Image files with labels, decoded and transformed when they are asked for."""

    def __init__(
        self, paths: list[Path], labels: NDArray[np.int64], transform: v2.Transform
    ) -> None:
        self.paths, self.labels, self.transform = paths, labels, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        with Image.open(self.paths[row]) as image:
            return self.transform(image.convert("RGB")), int(self.labels[row])


TrainFold = Callable[[argparse.Namespace, Pictures, Pictures, int], NDArray[np.int64]]


def parser(description: str) -> argparse.ArgumentParser:
    """Make the command line of the baselines."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--data", type=Path, required=True, help="folder of class folders")
    made.add_argument("--weights", type=Path, required=True, help=".safetensors of the backbone")
    made.add_argument("--backbone", default="mobilenetv2_100")
    made.add_argument("--limit", type=int, default=2000, help="stratified subset of the images")
    made.add_argument("--folds", type=int, default=5)
    made.add_argument("--only-folds", type=int, nargs="+", help="train only these, from 0")
    made.add_argument("--image-size", type=int, default=96)
    made.add_argument("--batch-size", type=int, default=64)
    made.add_argument("--frozen", type=int, default=3, help="epochs of the head alone, at 1e-3")
    made.add_argument("--full", type=int, default=5, help="epochs of everything, at 5e-4")
    made.add_argument("--loaders", type=int, default=2, help="DataLoader processes")
    return made


def cross_validate(train_fold: TrainFold, options: argparse.Namespace) -> None:
    """Train the folds one after another and print one line of JSON.

    Parameters
    ----------
    train_fold : callable
        Of the options, the training and the validation part and the number of classes; trains a
        model and returns the classes (V,) that it predicts for the validation part.
    options : Namespace
        Of `parser`.
    """
    start = time.perf_counter()
    torch.manual_seed(0)
    paths, labels, classes = _read(options)
    first, second = transforms(options.backbone, options.image_size)
    found = np.full_like(labels, -1)
    splits = StratifiedKFold(options.folds, shuffle=True, random_state=0).split(labels, labels)
    for fold, (train, valid) in enumerate(splits):
        if options.only_folds is None or fold in options.only_folds:
            found[valid] = train_fold(
                options,
                Pictures([paths[row] for row in train], labels[train], first),
                Pictures([paths[row] for row in valid], labels[valid], second),
                classes,
            )
    seen = found >= 0
    result = {
        "accuracy": float((found == labels)[seen].mean()),
        "macro_f1": float(f1_score(labels[seen], found[seen], average="macro")),
        "seconds": time.perf_counter() - start,
    }
    print(json.dumps(result))


def _read(options: argparse.Namespace) -> tuple[list[Path], NDArray[np.int64], int]:
    """Paths and labels of the images, and the number of classes."""
    paths = sorted(path for path in options.data.glob("*/*") if not path.name.startswith("."))
    names = sorted({path.parent.name for path in paths})
    labels = np.array([names.index(path.parent.name) for path in paths])
    if options.limit < len(paths):
        keep, _ = train_test_split(
            np.arange(len(paths)), train_size=options.limit, stratify=labels, random_state=0
        )
        paths, labels = [paths[row] for row in keep], labels[keep]
    return paths, labels, len(names)


def transforms(backbone: str, size: int) -> tuple[v2.Transform, v2.Transform]:
    """Training and validation transforms, of the same kinds and strengths as crossfold's."""
    config = timm.get_pretrained_cfg(backbone)
    fit = [v2.Resize(size), v2.CenterCrop(size)]
    vary = [
        v2.RandomHorizontalFlip(),
        v2.RandomVerticalFlip(),
        v2.RandomAffine(180, (0.05, 0.05), (0.9, 1.1), 5, v2.InterpolationMode.BILINEAR),
        v2.ColorJitter(0.1, 0.1, 0.1, 0.02),
    ]
    end = [
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(config.mean), list(config.std)),
    ]
    return v2.Compose([*fit, *vary, *end]), v2.Compose([*fit, *end])


def build(options: argparse.Namespace, classes: int) -> nn.Module:
    """Make the pretrained backbone with a fresh head."""
    model: Any = timm.create_model(options.backbone)
    model.load_state_dict({name: t.float() for name, t in load_file(options.weights).items()})
    model.reset_classifier(classes)
    network: nn.Module = model.to(memory_format=torch.channels_last)
    return network


def stages(options: argparse.Namespace) -> Iterator[tuple[bool, int, float]]:
    """Yield whether the backbone is frozen, the epochs and the learning rate of each stage."""
    plan = ((True, options.frozen, FROZEN_RATE), (False, options.full, FULL_RATE))
    return (stage for stage in plan if stage[1])


def freeze(model: Any, frozen: bool) -> list[nn.Parameter]:
    """Let the head train, and the backbone unless it is frozen; return what trains."""
    head = set(model.get_classifier().parameters())
    for parameter in model.parameters():
        parameter.requires_grad_(not frozen or parameter in head)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def train_options(options: argparse.Namespace) -> dict[str, Any]:
    """Options of the training part's DataLoader."""
    return {
        "batch_size": options.batch_size,
        "shuffle": True,
        "drop_last": True,
        "num_workers": options.loaders,
        "persistent_workers": options.loaders > 0,
        "pin_memory": torch.cuda.is_available(),
    }


def train_loader(options: argparse.Namespace, part: Pictures) -> DataLoader:
    """Shuffled batches of a training part, the rest of an epoch left out."""
    return DataLoader(part, **train_options(options))


def valid_options(options: argparse.Namespace) -> dict[str, Any]:
    """Options of the validation part's DataLoader."""
    return {"batch_size": 4 * options.batch_size, "num_workers": options.loaders}


def valid_loader(options: argparse.Namespace, part: Pictures) -> DataLoader:
    """Batches of a validation part, in order."""
    return DataLoader(part, **valid_options(options))
