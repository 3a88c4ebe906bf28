"""What ``--tune`` may say: all of the backbone, or low-rank adapters of it; without torch."""

import math
from dataclasses import dataclass
from typing import Any, Self

FULL = "full"
MOST_RANK = 1024
_RANK = 8


@dataclass(frozen=True)
class LoraShape:
    """What a low-rank adapter is made of.

    Parameters
    ----------
    rank : int
        Of the change of a weight matrix, from 1 to `MOST_RANK`.
    alpha : float
        The change is scaled by alpha / rank; above 0.
    """

    rank: int
    alpha: float

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= MOST_RANK or not 0 < self.alpha < math.inf:
            raise ValueError(f"r is a number from 1 to {MOST_RANK}, and alpha above 0")

    def __str__(self) -> str:
        return f"lora:r={self.rank},alpha={self.alpha:g}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``lora``, ``lora:r=8`` or ``lora:r=8,alpha=16``; alpha is 2 r if left out.

        Raises
        ------
        ValueError
            The text has another form, or a value is out of range.
        """
        kind, _, rest = text.partition(":")
        given = dict(word.partition("=")[::2] for word in rest.split(",")) if rest else {}
        if kind != "lora" or not given.keys() <= {"r", "alpha"}:
            raise ValueError("use full, or adapters such as lora:r=8 or lora:r=8,alpha=16")
        try:
            rank = int(given.get("r", _RANK))
            alpha = float(given.get("alpha", 2 * rank))
        except ValueError:
            raise ValueError("r and alpha are numbers, as in lora:r=8,alpha=16") from None
        return cls(rank, alpha)


def check_tune(given: Any) -> str:
    """Read ``--tune``; equal settings come back as equal texts.

    Raises
    ------
    ValueError
        It is neither full nor what `LoraShape.parse` reads.
    """
    text = str(given).strip()
    return text if text == FULL else str(LoraShape.parse(text))
