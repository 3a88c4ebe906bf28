"""Names of the views of all images that folds can share; see `folds.training.frozen`.

A module of its own, because the ledger (`distributed.lanes.ledger`) hands views out and its process
is to start quickly and stay small: it imports no torch.
"""

from dataclasses import dataclass

PLAIN = -1


@dataclass(frozen=True, slots=True)
class View:
    """One view of all images, as the frozen front of the backbone puts it out.

    Parameters
    ----------
    epoch : int
        Whose augmentation; `PLAIN` for the plain view of validation.
    depth : int
        Parts of the backbone's chain that make up the front.
    """

    epoch: int
    depth: int
