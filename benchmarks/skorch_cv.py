"""The same cross-validation as an experienced user of skorch writes it.

A NeuralNetClassifier a stage around one module, without internal validation and without printing.
Prints what `benchmarks.plain_cv` prints.

Run: python -m benchmarks.skorch_cv --data FOLDER --weights FILE --limit 2000
"""

import argparse
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler
from torch import Tensor, nn

from benchmarks import baseline
from benchmarks.baseline import Pictures

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Network(nn.Module):
    """A timm model in channels_last and, on a GPU, bf16; batch norm keeps still while frozen."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        self.frozen = False

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda"):
            logits: Tensor = self.model(images)
        return logits.float()

    def train(self, mode: bool = True) -> Self:
        """Leave a frozen backbone in evaluation mode, in which skorch would not."""
        return super().train(mode and not self.frozen)


def make_net(
    options: argparse.Namespace, network: Network, *, epochs: int, rate: float, steps: int
) -> NeuralNetClassifier:
    """Make the net of one stage of `epochs` of `steps` each."""
    loaders = {
        **{f"iterator_train__{n}": v for n, v in baseline.train_options(options).items()},
        **{f"iterator_valid__{n}": v for n, v in baseline.valid_options(options).items()},
    }
    cosine = LRScheduler("CosineAnnealingLR", step_every="batch", T_max=epochs * steps)
    return NeuralNetClassifier(
        network,
        classes=range(network.model.num_classes),
        criterion=nn.CrossEntropyLoss,
        criterion__label_smoothing=baseline.LABEL_SMOOTHING,
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=baseline.WEIGHT_DECAY,
        lr=rate,
        max_epochs=epochs,
        train_split=None,
        callbacks=[("cosine", cosine)],
        callbacks__print_log=None,
        device=DEVICE,
        **loaders,
    )


def train_fold(
    options: argparse.Namespace, train: Pictures, valid: Pictures, classes: int
) -> NDArray[np.int64]:
    """Train one fold and return the validation part's predicted classes."""
    network = Network(baseline.build(options, classes))
    steps = len(train) // options.batch_size
    for frozen, epochs, rate in baseline.stages(options):
        baseline.freeze(network.model, frozen)
        network.frozen = frozen
        net = make_net(options, network, epochs=epochs, rate=rate, steps=steps)
        net.fit(train, None)
    return net.predict(valid)


if __name__ == "__main__":
    baseline.cross_validate(train_fold, baseline.parser(__doc__.splitlines()[0]).parse_args())
