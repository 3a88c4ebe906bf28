"""What the probe is asked, and what it answers."""

from dataclasses import dataclass

from folds.runtime.device import Runtime

WORTH_STEPS = 150  # of a run on a CPU; trying costs about 18


@dataclass(frozen=True)
class Rates:
    """What one worker does in a second, and what it needs.

    Parameters
    ----------
    train : float
        Images/s of a training step with everything unfrozen.
    forward : float
        Images/s without gradients.
    step_bytes : int
        Peak memory in bytes: of a training step on the device, on a CPU of the whole process.
    busy : float
        Share of a step's time, above 0 to 1, in which the device computes; 1 on a CPU.
    device_bytes : int
        Memory of the device in bytes; 0 on a CPU.
    """

    train: float
    forward: float
    step_bytes: int
    busy: float
    device_bytes: int = 0


@dataclass(frozen=True)
class Probed:
    """The fastest way to train here, and its rates."""

    runtime: Runtime
    rates: Rates


@dataclass(frozen=True)
class Trial:
    """What is tried: everything but the device that the answer depends on.

    Parameters
    ----------
    backbone : str
        A timm model; random weights take as long as others.
    classes, size, batch_size : int
        Of the network's output, the side of its input in pixels, and images of one worker's step.
    frozen_norm, precision, compile : str
        As in the configuration; ``auto`` leaves a choice.
    threads : int
        Cores of a worker.
    stages : int
        How often a compiled network would have to be compiled.
    images : int
        Images that a worker will train on in the whole run: whether trying is worth it.
    """

    backbone: str
    classes: int
    size: int
    batch_size: int
    frozen_norm: str
    precision: str
    compile: str
    threads: int
    stages: int
    images: int

    def worth(self, runtime: Runtime) -> bool:
        """Whether a run is long enough for what trying may gain."""
        on_cpu = runtime.device.type == "cpu"
        return not on_cpu or self.compile == "on" or self.images >= WORTH_STEPS * self.batch_size
