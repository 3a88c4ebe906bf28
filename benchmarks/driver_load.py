"""What the driver's machine does for each epoch of each lane, measured as plain method calls."""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch

from distributed.lanes.ledger import Ledger
from folds.model.backbone import build
from folds.training.checkpoint import FoldState, dump
from folds.training.outcome import EpochReport
from tracking.events import EpochEnded

BACKBONE, CLASSES, SIZE = "mobilenetv2_100", 8, 96


@dataclass(frozen=True)
class DriverCost:
    """What the calls of an epoch cost.

    Parameters
    ----------
    tells, saves : tuple of float
        Seconds of calls of `Ledger.tell` and `Ledger.save_checkpoint`.
    checkpoint_bytes : int
        Of one checkpoint.
    """

    tells: tuple[float, ...]
    saves: tuple[float, ...]
    checkpoint_bytes: int

    @property
    def seconds(self) -> float:
        """Of an epoch: the median call of each kind."""
        return statistics.median(self.tells) + statistics.median(self.saves)


def measure(backbone: str = BACKBONE, *, tells: int = 2000, saves: int = 20) -> DriverCost:
    """Call a Ledger in an empty folder, without Ray; the disk's cache takes what is written."""
    content = _checkpoint(backbone)
    report = EpochReport(**{entry.name: 0.5 for entry in fields(EpochReport)})  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(folder, [(0, 0)], 0)
        return DriverCost(
            _times(
                lambda n: ledger.record(EpochEnded(task=0, report=replace(report, epoch=n))), tells
            ),
            _times(lambda n: ledger.save_checkpoint(0, content), saves),
            len(content),
        )


def _times(call: Callable[[int], None], times: int) -> tuple[float, ...]:
    seconds = []
    for number in range(times):
        start = time.perf_counter()
        call(number)
        seconds.append(time.perf_counter() - start)
    return tuple(seconds)


def _checkpoint(backbone: str) -> bytes:
    """A fold's checkpoint after its first epoch: weights, AdamW's two moments, best weights."""
    model = build(
        backbone, classes=CLASSES, size=SIZE, dropout=0.0, pretrained=None, seed=0
    ).train()  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(2, 3, SIZE, SIZE)).sum().backward()
    optimizer.step()
    best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return dump(FoldState(model, optimizer, kept_weights=best))
