"""Names of the views of all images that folds can share; see `folds.training.frozen`."""

from dataclasses import dataclass

PLAIN = -1


@dataclass(frozen=True, slots=True)
class View:
    """One view of all images, seen through the frozen front of the backbone.

    Parameters
    ----------
    epoch : int
        Whose augmentation; `PLAIN` for the plain view of validation.
    depth : int
        Parts of the backbone's chain that make up the front.
    """

    epoch: int
    depth: int
