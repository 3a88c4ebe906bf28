"""Images and labels from any source, behind one function: `load`."""

from folds.images.imageset import ImageSet
from folds.images.source import load, load_unlabelled

__all__ = ["ImageSet", "load", "load_unlabelled"]
