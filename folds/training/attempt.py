"""How a fold is tried: as it was asked for, or after a failure with less at once, or slower.

No torch. A fold that ran out of memory goes on with its batches computed in more parts, one whose
loss was no finite number with lower learning rates; both from its last checkpoint.
"""

from dataclasses import dataclass, replace
from typing import Self

SLOWER = 0.5  # factor on the learning rates of a fold whose loss was no finite number
SLOWEST = SLOWER**2  # below that it is given up


@dataclass(frozen=True)
class Attempt:
    """How a fold is tried.

    Parameters
    ----------
    parts : int
        Microbatches that each global batch is computed in, at least; see ``--accumulate``.
    rate : float
        Factor on all learning rates.
    """

    parts: int = 1
    rate: float = 1.0

    def slower(self) -> Self | None:
        """The next attempt after a loss that was no finite number, or None after the last."""
        rate = self.rate * SLOWER
        return replace(self, rate=rate) if rate >= SLOWEST else None


FIRST = Attempt()
