"""What a practitioner writes by hand: a sequential loop of folds, to hold the main job against.

timm, torchvision v2 transforms in a DataLoader, AdamW, scikit-learn's StratifiedKFold; the same
stages, epochs, batch size and label smoothing as crossfold's, and as fast as such a script is
commonly made: loader workers, channels_last, autocast on a GPU, no gradients where frozen.

Run: python benchmarks/plain_cv.py --data FOLDER --weights FILE --limit 2000
It prints one line of JSON: accuracy and macro-F1 of all out-of-fold predictions, wall seconds.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold, train_test_split
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2


class Pictures(Dataset):
    """Image files with labels."""

    def __init__(self, paths: list[Path], labels: np.ndarray, transform: v2.Transform) -> None:
        self.paths, self.labels, self.transform = paths, labels, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.paths[row]) as image:
            return self.transform(image.convert("RGB")), int(self.labels[row])


def transforms(size: int, mean: list[float], std: list[float]) -> tuple[v2.Transform, v2.Transform]:
    """Training and validation transforms, of the same kinds and strengths as crossfold's."""
    end = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
    train = [
        v2.Resize(size),
        v2.CenterCrop(size),
        v2.RandomHorizontalFlip(),
        v2.RandomVerticalFlip(),
        v2.RandomAffine(180, (0.05, 0.05), (0.9, 1.1), 5, v2.InterpolationMode.BILINEAR),
        v2.ColorJitter(0.1, 0.1, 0.1, 0.02),
    ]
    return v2.Compose([*train, *end]), v2.Compose([v2.Resize(size), v2.CenterCrop(size), *end])


def train_fold(
    options: argparse.Namespace, train: Dataset, valid: Dataset, classes: int
) -> np.ndarray:
    """Train one fold and return the validation part's predicted classes, of the last epoch."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = timm.create_model(options.backbone)
    model.load_state_dict({n: t.float() for n, t in load_file(options.weights).items()})
    model.reset_classifier(classes)
    model = model.to(device).to(memory_format=torch.channels_last)
    head = set(model.get_classifier().parameters())
    loader = DataLoader(
        train, options.batch_size, shuffle=True, drop_last=True, num_workers=options.loaders,
        persistent_workers=options.loaders > 0, pin_memory=device == "cuda",
    )  # fmt: skip
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    for frozen, epochs, rate in ((True, options.frozen, 1e-3), (False, options.full, 5e-4)):
        for parameter in model.parameters():
            parameter.requires_grad_(not frozen or parameter in head)
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, rate, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
        for _ in range(epochs):
            model.train(not frozen)
            for images, labels in loader:
                images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
                with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                    loss = loss_of(model(images), labels.to(device, non_blocking=True))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
    return predict(model, valid, options, device)


@torch.inference_mode()
def predict(
    model: torch.nn.Module, valid: Dataset, options: argparse.Namespace, device: str
) -> np.ndarray:
    """Predicted classes of a data set."""
    model.eval()
    loader = DataLoader(valid, 4 * options.batch_size, num_workers=options.loaders)
    found = [
        model(images.to(device, memory_format=torch.channels_last)).argmax(1)
        for images, _ in loader
    ]
    return torch.cat(found).cpu().numpy()


def main() -> None:
    """Cross-validate and print one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--weights", type=Path, required=True, help=".safetensors of the backbone")
    parser.add_argument("--backbone", default="mobilenetv2_100")
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--frozen", type=int, default=3, help="epochs of the head alone, at 1e-3")
    parser.add_argument("--full", type=int, default=5, help="epochs of everything, at 5e-4")
    parser.add_argument("--loaders", type=int, default=2, help="DataLoader processes")
    options = parser.parse_args()
    start = time.perf_counter()
    torch.manual_seed(0)
    paths = sorted(path for path in options.data.glob("*/*") if not path.name.startswith("."))
    names = sorted({path.parent.name for path in paths})
    labels = np.array([names.index(path.parent.name) for path in paths])
    if options.limit < len(paths):
        keep, _ = train_test_split(
            np.arange(len(paths)), train_size=options.limit, stratify=labels, random_state=0
        )
        paths, labels = [paths[row] for row in keep], labels[keep]
    config = timm.get_pretrained_cfg(options.backbone)
    first, second = transforms(options.image_size, list(config.mean), list(config.std))
    found = np.zeros_like(labels)
    splitter = StratifiedKFold(options.folds, shuffle=True, random_state=0)
    for train, valid in splitter.split(labels, labels):
        found[valid] = train_fold(
            options,
            Pictures([paths[row] for row in train], labels[train], first),
            Pictures([paths[row] for row in valid], labels[valid], second),
            len(names),
        )
    result = {
        "accuracy": float((found == labels).mean()),
        "macro_f1": float(f1_score(labels, found, average="macro")),
        "seconds": time.perf_counter() - start,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
