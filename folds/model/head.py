"""The head: what is trained from nothing between the backbone's output and the logits."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from folds.config.head import HeadShape
from folds.hashing import scrambled

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
_NORMS = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class Pool(nn.Module):
    """Pooling without parameters of a map, or of a transformer's patches.

    Parameters
    ----------
    kind : {"avg", "max", "avgmax"}
    network : Module
        The timm model that gives the maps: some have their channels last, some have tokens that
        are no patches (class, register), which are left out.
    """

    def __init__(self, kind: str, network: Any) -> None:
        super().__init__()
        self.kind = kind
        self._channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
        self._prefix = getattr(network, "num_prefix_tokens", 0)

    def forward(self, output: Tensor) -> Tensor:
        """Features (B, F) of maps (B, F, h, w) or (B, h, w, F), or of tokens (B, L, F).

        F is doubled by ``avgmax``.
        """
        places = self.places(output)
        if self.kind == "avg":
            return places.mean(dim=1)
        if self.kind == "max":
            return places.amax(dim=1)
        return torch.cat([places.mean(dim=1), places.amax(dim=1)], dim=1)

    def places(self, output: Tensor) -> Tensor:
        """Features of each place, shape (B, places, F)."""
        if output.ndim == 4:
            return output.flatten(1, 2) if self._channels_last else output.flatten(2).mT
        return output[:, self._prefix :]


class AttentionPool(Pool):
    """Mean over the places, weighted by a softmax over a learned score of each.

    It begins as average pooling: all scores are 0.
    """

    def __init__(self, network: Any, features: int) -> None:
        super().__init__("attention", network)
        self.score = nn.Linear(features, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, output: Tensor) -> Tensor:
        """Features (B, F) as `Pool` does."""
        places = self.places(output)
        return (self.score(places).softmax(dim=1) * places).sum(dim=1)


def fixed_pool(kind: str, network: Any) -> Pool | None:
    """The pooling without parameters that a head asks for, if it does."""
    return None if kind in ("auto", "attention") else Pool(kind, network)


class Head(nn.Linear):
    """Hidden layers, if asked for, and then this linear layer; with the pooling that is learned.

    Parameters
    ----------
    network : Module
        The timm model before it.
    classes : int
        C, the number of classes.
    shape : HeadShape
        What comes before the linear layer.
    dropout : float
        Probability that a feature of the backbone is dropped while training.

    Attributes
    ----------
    pool : Module
        From the backbone's output to the features (B, F) that `forward` takes.

    Notes
    -----
    - a fresh head gives a loss near log(C): the last layer's weights are small, its bias 0;
    - hidden layers are initialised after Glorot (uniform), their biases 0;
    - dropout is a function of (seed, image, feature), not of the batch or the worker, see
    `dropout_mask`.
    """

    def __init__(self, network: Any, classes: int, shape: HeadShape, dropout: float) -> None:
        features = network.head_hidden_size
        widths = (features * (2 if shape.pool == "avgmax" else 1), *shape.layers)
        super().__init__(widths[-1], classes)
        self.features: int = widths[0]
        nn.init.trunc_normal_(self.weight, std=0.01)
        nn.init.zeros_(self.bias)
        self.hidden = nn.ModuleList(_hidden(*ends, shape) for ends in pairwise(widths))
        attends = shape.pool == "attention"
        self.pool = AttentionPool(network, features) if attends else nn.Identity()
        self.dropouts = (dropout, *(shape.dropout for _ in shape.layers))

    def forward(self, features: Tensor, rows: Tensor | None = None, seed: int = 0) -> Tensor:
        """Logits (B, C) of what `pool` gave; with `rows` (B,) features are dropped."""
        first = 0  # features are numbered through all layers
        for number, probability in enumerate(self.dropouts):
            width = features.shape[1]
            if rows is not None and probability > 0:
                features = features * dropout_mask(rows, width, probability, seed, first)
            first += width
            if number < len(self.hidden):
                features = self.hidden[number](features)
        return super().forward(features)


def _hidden(inputs: int, width: int, shape: HeadShape) -> nn.Sequential:
    """A hidden layer: linear, normalisation, activation."""
    linear = nn.Linear(inputs, width)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    norm = _NORMS[shape.norm](width) if shape.norm != "none" else nn.Identity()
    return nn.Sequential(linear, norm, _ACTIVATIONS[shape.activation]())


def dropout_mask(
    rows: Tensor, features: int, probability: float, seed: int, first: int = 0
) -> Tensor:
    """Dropout factors of (image, feature) by a counter-based hash.

    Parameters
    ----------
    rows : Tensor of int64, shape (B,)
        Numbers of the images, or of their draws.
    features : int
        F, how many.
    first : int
        Number of the first feature.

    Returns
    -------
    Tensor of float32, shape (B, F)
        0 with `probability`, else 1 / (1 - probability); row b depends on ``rows[b]`` alone.
    """
    columns = torch.arange(first, first + features, device=rows.device)
    value = rows[:, None] * 0x9E3779B1 + columns * 0x85EBCA77 + seed * 0xC2B2AE3D
    drawn = scrambled(value.to(torch.int32)).long() & 0xFFFFFFFF
    return (drawn >= int(probability * 2**32)).float() / (1 - probability)
