"""How a model holds up when images change as another laboratory would change them.

`corrupt` is the suite of corruptions, on the device; `shift_scores` says what a model makes of it.
"""

from folds.shift.corruptions import corrupt
from folds.shift.keys import keys_of
from folds.shift.score import ShiftScores, shift_scores
from folds.shift.sheet import sheet

__all__ = [
    "ShiftScores",
    "corrupt",
    "keys_of",
    "sheet",
    "shift_scores",
]
