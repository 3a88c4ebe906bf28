"""Batch norm folded into the convolution before it, where nothing trains: one pass fewer a layer.

In evaluation a batch norm multiplies each channel by a number and adds another, and so can the
convolution whose output it gets. What a network gives stays the same up to rounding in float32; in
half precision the error of rounding would grow by half (LOG.md), so there nothing is folded.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_CONVOLUTIONS = (nn.Conv2d, Conv2dSame)  # others do more with their weights
_NORMS = (nn.BatchNorm2d, BatchNormAct2d)


class Pair(NamedTuple):
    """A convolution, and the batch norm that alone gets its output."""

    convolution: Any
    norm: Any


def pairs(network: nn.Module, size: int) -> tuple[Pair, ...]:
    """Find what can be folded, by watching one pass over an image of zeros.

    Parameters
    ----------
    network : Module
        From images (B, 3, size, size); none of its modules may be in training mode.

    Notes
    -----
    - a convolution whose output anything else reads, or that runs twice, is in no pair.
    """
    seen = _Watch()
    hooks = []
    for module in network.modules():
        if type(module) in _CONVOLUTIONS:
            hooks.append(module.register_forward_hook(seen.made))
        elif type(module) in _NORMS and cast(Any, module).track_running_stats:
            hooks.append(module.register_forward_pre_hook(seen.entered))
            hooks.append(module.register_forward_hook(seen.left))
    device = next(network.parameters()).device
    with torch.no_grad(), seen:
        network(torch.zeros(1, 3, size, size, device=device))
    for hook in hooks:
        hook.remove()
    return tuple(
        Pair(*output.got)
        for output in seen.outputs.values()
        if len(output.got) == 2 and not output.read and all(seen.runs[m] == 1 for m in output.got)
    )


@dataclass
class _Output:
    """What a convolution gave: held, so that no other tensor has its id."""

    tensor: Tensor
    got: list[nn.Module]  # the convolution, then the batch norms that got it
    read: bool = False  # by anything else


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Who reads the outputs of convolutions."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.outputs: dict[int, _Output] = {}
        self.runs: Counter[nn.Module] = Counter()
        self._inside = 0

    def made(self, module: nn.Module, _inputs: Any, output: Tensor) -> None:
        """Note a convolution's output."""
        self.runs[module] += 1
        self.outputs[id(output)] = _Output(output, [module])

    def entered(self, module: nn.Module, inputs: Any) -> None:
        """Note a batch norm's input, which it may read as often as it likes."""
        self.runs[module] += 1
        self._inside = id(inputs[0])
        if self._inside in self.outputs:
            self.outputs[self._inside].got.append(module)

    def left(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        """End of a batch norm."""
        self._inside = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Note what an operation reads."""
        for each in tree_leaves((args, kwargs)):
            if (output := self.outputs.get(id(each))) and id(each) != self._inside:
                output.read = True
        return func(*args, **(kwargs or {}))


def fold(found: Sequence[Pair]) -> None:
    """Fold for good: a network that only predicts."""
    for convolution, norm in found:
        weight, bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps,
            norm.weight, norm.bias,
        )  # fmt: skip
        convolution._parameters.update(weight=weight, bias=bias)
        norm.forward = _activation(norm)


@contextmanager
def folded(found: Sequence[Pair]) -> Iterator[None]:
    """Fold for a while, by the weights and statistics of now."""
    own = [(dict(pair.convolution._parameters), vars(pair.norm).get("forward")) for pair in found]
    fold(found)
    try:
        yield
    finally:
        for (convolution, norm), (parameters, forward) in zip(found, own, strict=True):
            convolution._parameters.update(parameters)
            del norm.forward
            if forward is not None:
                norm.forward = forward


@contextmanager
def predicting(model: Any, cut: int = 0) -> Iterator[None]:
    """Evaluation mode without gradients, folded; ends in evaluation mode.

    Parameters
    ----------
    model : Classifier
        Its `pairs` are folded.
    cut : int
        Parts of its chain that run apart from the others: a pair that they divide stays.
    """
    model.eval()
    whole: Sequence[Pair] = ()
    if cut < len(model.chain):  # else none of them runs
        whole = undivided(model, cut)
    with torch.inference_mode(), folded(whole):
        yield


def undivided(model: Any, cut: int) -> list[Pair]:
    """The pairs of a Classifier that lie on one side of a cut behind so many parts of its chain."""
    front = {module for part in model.chain[:cut] for module in part.modules()}
    return [pair for pair in model.pairs if len({each in front for each in pair}) == 1]


def _activation(norm: Any) -> Callable[[Tensor], Tensor]:
    """What a norm does beside normalising: timm's brings an activation along."""
    if isinstance(norm, BatchNormAct2d):
        return lambda image: norm.act(norm.drop(image))
    return lambda image: image
