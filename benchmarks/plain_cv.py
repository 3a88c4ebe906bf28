"""What a practitioner writes by hand: a sequential loop of folds in plain PyTorch.

As fast as such a script is commonly made: loader workers, channels_last, autocast on a GPU, no
gradients where frozen. It prints one line of JSON: accuracy and macro-F1 of all out-of-fold
predictions of each fold's last epoch, and the wall seconds without imports.

Run: python -m benchmarks.plain_cv --data FOLDER --weights FILE --limit 2000
"""

import argparse

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks import baseline
from benchmarks.baseline import Pictures

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def train_fold(
    options: argparse.Namespace, train: Pictures, valid: Pictures, classes: int
) -> NDArray[np.int64]:
    """Train one fold and return the validation part's predicted classes."""
    model = baseline.build(options, classes).to(DEVICE)
    loader = baseline.train_loader(options, train)
    loss_of = nn.CrossEntropyLoss(label_smoothing=baseline.LABEL_SMOOTHING)
    for frozen, epochs, rate in baseline.stages(options):
        trained = baseline.freeze(model, frozen)
        optimizer = torch.optim.AdamW(trained, rate, weight_decay=baseline.WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
        model.train(not frozen)
        for _ in range(epochs):
            for images, labels in loader:
                images = images.to(DEVICE, memory_format=torch.channels_last, non_blocking=True)
                with torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda"):
                    loss = loss_of(model(images), labels.to(DEVICE, non_blocking=True))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
    return predict(options, model, valid)


@torch.inference_mode()
def predict(options: argparse.Namespace, model: nn.Module, part: Pictures) -> NDArray[np.int64]:
    """Predicted classes of a validation part."""
    model.eval()
    found = []
    for images, _ in baseline.valid_loader(options, part):
        images = images.to(DEVICE, memory_format=torch.channels_last)
        with torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda"):
            found.append(model(images).argmax(1).cpu())
    return torch.cat(found).numpy()


if __name__ == "__main__":
    baseline.cross_validate(train_fold, baseline.parser(__doc__.splitlines()[0]).parse_args())
