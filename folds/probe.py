"""What a worker can do, as measured numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rates:
    """Speed and memory of one worker.

    Parameters
    ----------
    train : float
        Images/s of a full training step.
    forward : float
        Images/s without gradients.
    step_bytes : int
        Memory that a worker needs while training, above the images.
    busy : float
        Share of a step during which the device computes, above 0 and at most 1; 1 on a CPU.
    """

    train: float
    forward: float
    step_bytes: int
    busy: float
