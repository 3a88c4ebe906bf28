"""What ``--pool``, ``--head-layers`` and the like, and ``--tta`` may say, without torch."""

from dataclasses import dataclass
from typing import Any, Literal

Pooling = Literal["auto", "avg", "max", "avgmax", "attention"]
Activation = Literal["relu", "leaky_relu", "gelu", "silu"]
Norm = Literal["none", "batch", "layer"]

MOST_VIEWS = 64  # of test-time augmentation
MOST_LAYERS, MOST_WIDTH = 100, 65_536  # of a head


@dataclass(frozen=True)
class HeadShape:
    """What a head is made of.

    Parameters
    ----------
    pool : {"auto", "avg", "max", "avgmax", "attention"}
        From the backbone's map to features; auto: the backbone's own, avgmax: both side by side.
    layers : tuple of int
        Widths of the hidden layers, from the backbone on.
    activation : {"relu", "leaky_relu", "gelu", "silu"}
        After each hidden layer.
    norm : {"none", "batch", "layer"}
        Between a hidden layer and its activation.
    dropout : float
        Probability that an output of a hidden layer is dropped while training.
    """

    pool: Pooling = "auto"
    layers: tuple[int, ...] = ()
    activation: Activation = "relu"
    norm: Norm = "none"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if len(self.layers) > MOST_LAYERS or not all(0 < n <= MOST_WIDTH for n in self.layers):
            raise ValueError(
                f"a head has at most {MOST_LAYERS} hidden layers of 1 to {MOST_WIDTH:,} outputs"
            )


PLAIN_HEAD = HeadShape()


def check_tta(given: Any) -> str:
    """Read ``--tta``: a name, or a number of views.

    Raises
    ------
    ValueError
        It is neither.
    """
    text = str(given)
    if text in ("none", "flips", "d4") or (text.isdecimal() and 2 <= int(text) <= MOST_VIEWS):
        return text
    raise ValueError(f"use none, flips, d4, or a number of views from 2 to {MOST_VIEWS}")
