"""A fold's state while it is trained, and the same as the bytes of a checkpoint."""

import io
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor
from torch.amp import GradScaler

from folds.model.backbone import Classifier
from folds.training.ema import Average
from folds.training.outcome import EpochReport


@dataclass
class FoldState:
    """What changes while a fold is trained; `epoch` is the next one.

    `average` holds the moving average of the weights, if there is one; `scaler` the factor of
    float16's gradients, and does nothing in other precisions.
    """

    model: Classifier
    optimizer: torch.optim.Optimizer
    average: Average | None = None
    scaler: GradScaler = field(default_factory=lambda: GradScaler("cpu", enabled=False))
    epoch: int = 0
    best_epoch: int = -1
    best_score: float | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    best_logits: Tensor | None = None
    history: list[EpochReport] = field(default_factory=list)


def dump(state: FoldState) -> bytes:
    """Write a state as bytes that hold tensors and plain values only."""
    buffer = io.BytesIO()
    content = {
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "average": state.average,
        "scaler": state.scaler.state_dict(),
        "epoch": state.epoch,
        "best_epoch": state.best_epoch,
        "best_score": state.best_score,
        "best_weights": state.best_weights,
        "best_logits": state.best_logits,
        "history": [asdict(report) for report in state.history],
    }
    torch.save(content, buffer)
    return buffer.getvalue()


def restore(state: FoldState, content: bytes) -> None:
    """Put what `dump` wrote into a fresh state; nothing in it is executed."""
    saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    state.model.load_state_dict(saved["model"])
    state.optimizer.load_state_dict(saved["optimizer"])
    for name, tensor in (state.average or {}).items():
        tensor.copy_(saved["average"][name])
    state.scaler.load_state_dict(saved["scaler"])
    state.epoch, state.best_epoch = saved["epoch"], saved["best_epoch"]
    state.best_score = saved["best_score"]
    state.best_weights = saved["best_weights"]
    state.best_logits = saved["best_logits"]
    state.history = [EpochReport(**report) for report in saved["history"]]
