"""The images as another laboratory would make them: a suite of corruptions, on the device."""

from folds.corruptions.corrupt import corrupt
from folds.corruptions.keys import keys_of

__all__ = ["corrupt", "keys_of"]
