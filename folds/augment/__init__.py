"""Table-driven augmentation on the device: one warp, one colour matrix, and what else was drawn.

The table of `folds.sampling.uniform_table` supplies the randomness, Kornia supplies most of the
operations, `folds.config.policies` their names and strengths. Shapes: B images of a batch, n of
them that drew an operation, S the side of the network's input.
"""

from folds.augment.policy import Policy, make_policy
from folds.augment.view import augment, to_input

__all__ = ["Policy", "augment", "make_policy", "to_input"]
