"""Images of another laboratory brought to the looks of those that were trained on.

What training's images look like is an `Appearance`: it travels with the model. Nothing here needs
labels, and an image that looks like training's is left as it is.
"""

from folds.adaptation.appearance import Appearance, Looks, appearance_of, looks_of
from folds.adaptation.bring import bring, unlike

__all__ = ["Appearance", "Looks", "appearance_of", "bring", "looks_of", "unlike"]
