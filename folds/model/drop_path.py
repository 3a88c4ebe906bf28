"""Stochastic depth: blocks of the backbone that an image passes by while they are trained."""

from timm.layers import DropPath
from torch import Tensor, nn

from folds.errors import UserError
from folds.model.head import dropout_mask
from folds.model.names import Architecture

_FIRST = 2**24  # number of the first block in `dropout_mask`, above all features of a head


class StochasticDepth(nn.Module):
    """Drops the output of a residual block's branch, for some images of a batch.

    Parameters
    ----------
    probability : float
        That an image's is dropped, above 0 and below 1.
    number : int
        Of the branch in its network, from 0.

    Attributes
    ----------
    rows : Tensor of int64, shape (B,), optional
        Numbers of the images' draws in the next pass; without them nothing is dropped.
    seed : int
        Another one each epoch.

    Notes
    -----
    - what is dropped is a function of (seed, draw, branch), not of the batch or the worker;
    - nothing is dropped in evaluation, in which blocks are that do not train.

    References
    ----------
    Huang et al., Deep Networks with Stochastic Depth, ECCV 2016.
    """

    def __init__(self, probability: float, number: int) -> None:
        super().__init__()
        self.probability, self.number = probability, number
        self.rows: Tensor | None = None
        self.seed = 0

    def forward(self, branch: Tensor) -> Tensor:
        """Give ``branch`` (B, ...) with 0 for some images, the others scaled to the same mean.

        Raises
        ------
        UserError
            It is not of B images but of their parts.
        """
        if self.rows is None or not self.training:
            return branch
        if len(branch) != len(self.rows):
            raise UserError(
                "--drop-path: blocks of this backbone see parts of an image one by one; leave it "
                "out, or take another --backbone"
            )
        factors = dropout_mask(self.rows, 1, self.probability, self.seed, _FIRST + self.number)
        return branch * factors.to(branch.dtype).view(-1, *[1] * (branch.ndim - 1))


def create(name: str, size: int, drop_path: float = 0.0) -> nn.Module:
    """Make a timm model, with `StochasticDepth` in place of timm's own if that is wanted.

    Parameters
    ----------
    name : str
        A timm model, or what `folds.model.names.resolve` gave.
    size : int
        Side of the input in pixels.
    drop_path : float
        Probability of the last block; that of the blocks before rises evenly from 0.

    Raises
    ------
    UserError
        It has no blocks that could be dropped.
    """
    options = {"drop_path_rate": drop_path} if drop_path else {}
    try:
        network = Architecture.of(name).create(size, **options)
    except TypeError:  # it knows no such argument
        if not drop_path:
            raise
        network = nn.Identity()
    places = {
        place: module.drop_prob
        for place, module in network.named_modules(remove_duplicate=False)
        if isinstance(module, DropPath) and module.drop_prob
    }
    if drop_path and not places:
        raise UserError(
            f"--drop-path {drop_path:g}: {name} has no blocks that it could drop; leave it out, or "
            "take another --backbone, such as resnet50, convnext_tiny or a vision transformer"
        )
    for number, (place, probability) in enumerate(places.items() if drop_path else ()):
        network.set_submodule(place, StochasticDepth(probability, number))
    return network


def silence(network: nn.Module) -> None:
    """Switch off a model's own dropout and stochastic depth.

    They draw from torch's global generator, so their masks would change with workers, lanes and
    interruptions; `dropout_mask` is the only randomness in a forward pass.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name in ("drop_prob", "drop_rate"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
