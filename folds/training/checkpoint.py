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

    `average` holds the moving average of the weights, if there is one; `anchor`, for ``--wise-ft``,
    the weights before the backbone was unfrozen; `scaler` the factor of float16's gradients, and
    does nothing in other precisions. What is `kept` is of the epoch that
    ``--choose-epoch`` keeps, its weights where they are not the state's; `epoch_logits` (V, C) are
    those of the validation part after each epoch, float16, for ``crossfit`` alone.
    """

    model: Classifier
    optimizer: torch.optim.Optimizer
    average: Average | None = None
    anchor: dict[str, Tensor] | None = None
    scaler: GradScaler = field(default_factory=lambda: GradScaler("cpu", enabled=False))
    epoch: int = 0
    kept_epoch: int = -1
    kept_weights: dict[str, Tensor] = field(default_factory=dict)
    kept_logits: Tensor | None = None
    epoch_logits: list[Tensor] = field(default_factory=list)
    history: list[EpochReport] = field(default_factory=list)


def dump(state: FoldState) -> bytes:
    """Write a state as bytes that hold tensors and plain values only."""
    buffer = io.BytesIO()
    content = {
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "average": state.average,
        "anchor": state.anchor,
        "scaler": state.scaler.state_dict(),
        "epoch": state.epoch,
        "kept_epoch": state.kept_epoch,
        "kept_weights": state.kept_weights,
        "kept_logits": state.kept_logits,
        "epoch_logits": state.epoch_logits,
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
    if saved["anchor"] is not None:
        device = next(state.model.parameters()).device
        state.anchor = {name: tensor.to(device) for name, tensor in saved["anchor"].items()}
    state.scaler.load_state_dict(saved["scaler"])
    state.epoch, state.kept_epoch = saved["epoch"], saved["kept_epoch"]
    state.kept_weights, state.kept_logits = saved["kept_weights"], saved["kept_logits"]
    state.epoch_logits = saved["epoch_logits"]
    state.history = [EpochReport(**report) for report in saved["history"]]


def on_cpu(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A copy on the CPU: the next step changes the weights in place."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}


def kept_weights(state: FoldState) -> dict[str, Tensor]:
    """Weights of the epoch that is kept, on the CPU."""
    if state.kept_weights:
        return state.kept_weights
    average = state.average if state.history[-1].averaged else None
    return on_cpu(average or state.model.state_dict())
