"""Where values lie on an axis that a page draws."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor


@dataclass(frozen=True)
class Scale:
    """A stretch of the axis of scores; places on it are in per cent of its width.

    Parameters
    ----------
    low, high : float
    """

    low: float
    high: float

    def at(self, value: float | None) -> float:
        """Where a value lies, not beyond the ends."""
        if value is None:
            return 0.0
        place = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(place, 0.0), 1.0), 2)


def scale(values: Iterable[float | None], step: float = 0.05) -> Scale:
    """The smallest stretch between multiples of `step` that holds all values, within 0 to 1."""
    known = [value for value in values if value is not None] or [0.0]
    low = max(floor(min(known) / step + 1e-9) * step, 0.0)
    high = min(ceil(max(known) / step - 1e-9) * step, 1.0)
    return Scale(low, high if high > low else low + step)
