"""Device, precision and layout of one worker."""

import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.amp import GradScaler

from folds.errors import UserError
from folds.model.backbone import Classifier
from folds.runtime.cpu import clamp_without_copy, widen_strided_depthwise

FIRST_SCALE = 2.0**12  # of float16's gradients


@dataclass(frozen=True)
class Runtime:
    """What a worker computes on, and how.

    Parameters
    ----------
    device : torch.device
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic of the network; its parameters stay float32.
    channels_last : bool
        Memory layout of images and convolutions: NHWC, or else NCHW.
    compiled : bool
        Whether the network is compiled by `torch.compile`.
    """

    device: torch.device
    precision: str
    channels_last: bool = True
    compiled: bool = False

    @classmethod
    def choose(cls, device: str, precision: str) -> "Runtime":
        """Settle ``auto`` without measuring (`folds.runtime.probe` measures).

        Parameters
        ----------
        device : str
            ``cpu``, ``cuda`` or ``auto``.
        precision : str
            ``fp32``, ``bf16``, ``fp16`` or ``auto``: bf16 on a GPU that has it, else fp32.

        Raises
        ------
        UserError
            There is no GPU, or it has no bf16.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            raise UserError("--device cuda: torch finds no GPU here; use --device cpu")
        native = device == "cuda" and cls(torch.device(device), "fp32").half == "bf16"
        if precision == "auto":
            precision = "bf16" if native else "fp32"
        if precision == "bf16" and device == "cuda" and not native:
            raise UserError("--precision bf16: this GPU does not have it; use fp16 or fp32")
        return cls(torch.device(device), precision)

    @property
    def half(self) -> str | None:
        """The half precision that the device computes in by itself: bf16, else fp16, if either.

        A processor without bf16 only imitates it, a step takes ten times as long then.
        """
        if self.device.type == "cuda":
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        return "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else None

    @property
    def settings(self) -> dict[str, Any]:
        """All but the device, as plain values."""
        return {name: getattr(self, name) for name in ("precision", "channels_last", "compiled")}

    def describe(self) -> str:
        """A few words for people."""
        layout = "channels-last" if self.channels_last else "channels-first"
        return ", ".join([self.precision, layout, *(["compiled"] if self.compiled else [])])

    @property
    def layout(self) -> torch.memory_format:
        """The memory format of images and convolutions."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self) -> AbstractContextManager[object]:
        """Context in which the network runs in the chosen precision."""
        kind = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(
            self.device.type, kind, enabled=self.precision != "fp32", cache_enabled=True
        )

    def scaler(self) -> GradScaler:
        """A fresh scaler of gradients, whose small ones float16 would lose; idle otherwise.

        An update whose gradients overflow is skipped, and the scale halved. Whether a sum over
        images overflows may depend on how many workers share it, so the scale begins far below.
        """
        half = self.precision == "fp16"
        return GradScaler(self.device.type, init_scale=FIRST_SCALE, enabled=half)

    def place(self, model: Classifier) -> None:
        """Bring a network onto the device and into the layout, in place."""
        model.to(self.device).to(memory_format=self.layout)
        model.layout = self.layout
        if self.precision != "fp32":
            model.pairs = ()  # see `folds.model.folding`
        if self.device.type != "cpu":
            return
        if self.precision == "bf16":
            widen_strided_depthwise(model)
        if not self.compiled:  # a compiler fuses activations itself
            clamp_without_copy(model)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The network as it is called in training: compiled, if that was chosen."""
        return cast(nn.Module, torch.compile(model)) if self.compiled else model


def as_tensor(array: NDArray) -> Tensor:
    """View an array, which may lie in shared memory that nobody may write to (and nobody does)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
