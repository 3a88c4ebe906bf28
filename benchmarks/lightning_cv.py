"""The same cross-validation as an experienced user of Lightning writes it.

One LightningModule, a Trainer a stage with all that costs speed switched off (``barebones``): no
progress bar, logger, checkpoint or sanity check. Prints what `benchmarks.plain_cv` prints.

Run: python -m benchmarks.lightning_cv --data FOLDER --weights FILE --limit 2000
"""

import argparse
import logging
import warnings

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks import baseline
from benchmarks.baseline import Pictures


class Classifier(lightning.LightningModule):
    """A timm model in one of its two stages."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.loss_of = nn.CrossEntropyLoss(label_smoothing=baseline.LABEL_SMOOTHING)
        self.rate = 0.0

    def enter_stage(self, frozen: bool, rate: float) -> None:
        """Freeze or unfreeze; Lightning keeps the mode that a module has when fit begins."""
        baseline.freeze(self.model, frozen)
        self.model.train(not frozen)
        self.rate = rate

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:  # noqa: ARG002
        """Loss of one batch."""
        images, labels = batch
        images = images.contiguous(memory_format=torch.channels_last)
        loss: Tensor = self.loss_of(self.model(images), labels)
        return loss

    def predict_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:  # noqa: ARG002
        """Predicted classes of one batch."""
        images = batch[0].contiguous(memory_format=torch.channels_last)
        return self.model(images).argmax(1).cpu()

    def configure_optimizers(self) -> dict[str, object]:
        """AdamW over what trains, its rate a cosine over the steps of the stage."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, self.rate, weight_decay=baseline.WEIGHT_DECAY)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def trainer(epochs: int) -> lightning.Trainer:
    """Make a Trainer without anything that costs speed."""
    precision = "bf16-mixed" if torch.cuda.is_available() else "32-true"
    return lightning.Trainer(max_epochs=epochs, devices=1, precision=precision, barebones=True)


def train_fold(
    options: argparse.Namespace, train: Pictures, valid: Pictures, classes: int
) -> NDArray[np.int64]:
    """Train one fold and return the validation part's predicted classes."""
    module = Classifier(baseline.build(options, classes))
    loader = baseline.train_loader(options, train)
    for frozen, epochs, rate in baseline.stages(options):
        module.enter_stage(frozen, rate)
        last = trainer(epochs)
        last.fit(module, loader)
    return torch.cat(last.predict(module, baseline.valid_loader(options, valid))).numpy()


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    baseline.cross_validate(train_fold, baseline.parser(__doc__.splitlines()[0]).parse_args())
