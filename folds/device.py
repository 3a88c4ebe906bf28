"""Device, precision and threads of one worker."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from folds.errors import UserError


@dataclass(frozen=True)
class Runtime:
    """What a worker computes on.

    Parameters
    ----------
    device : torch.device
    precision : {"fp32", "bf16"}
        Arithmetic of the network; its parameters stay float32.
    """

    device: torch.device
    precision: str

    @classmethod
    def choose(cls, device: str, precision: str) -> "Runtime":
        """Settle ``auto``.

        Parameters
        ----------
        device : str
            ``cpu``, ``cuda`` or ``auto``.
        precision : str
            ``fp32``, ``bf16`` or ``auto``: bf16 on a GPU that has it, else fp32.

        Raises
        ------
        UserError
            There is no GPU, or it has no bf16.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            raise UserError("--device cuda: torch finds no GPU here; use --device cpu")
        native = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        if precision == "auto":
            precision = "bf16" if native else "fp32"
        if precision == "bf16" and device == "cuda" and not native:
            raise UserError("--precision bf16: this GPU does not have it; use fp32")
        return cls(torch.device(device), precision)

    def autocast(self) -> AbstractContextManager[object]:
        """Context in which the network runs in the chosen precision."""
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.precision == "bf16", cache_enabled=True
        )
