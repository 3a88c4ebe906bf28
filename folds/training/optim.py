"""The optimizer: which there are, its groups of parameters, and one update of the weights."""

import torch
from timm.optim import create_optimizer_v2, get_optimizer_class, list_optimizers
from torch import nn

from folds.config import Config
from folds.config.optim import OptimConfig
from folds.errors import UserError, nearest
from folds.model.backbone import Classifier
from folds.model.layer_groups import parameter_groups
from folds.training.checkpoint import FoldState
from folds.training.ema import follow

# need packages that are not here; second derivatives; random numbers that no checkpoint holds
_LEFT_OUT = ["bnb*", "fused*", "adahessian", "kron*"]


def optimizer_names() -> list[str]:
    """Names of timm's optimizers that a fold can be trained with, and go on with."""
    return list(list_optimizers(exclude_filters=_LEFT_OUT))


def check_optimizer(name: str) -> None:
    """Refuse an optimizer that timm does not have, or that a fold cannot go on with.

    Raises
    ------
    UserError
        Names the nearest.
    """
    names = optimizer_names()
    if name not in names:
        near = nearest(name, names) or "; `timm.optim.list_optimizers()` lists them"
        raise UserError(f"--optimizer {name}: there is no such optimizer here{near}")


def make_optimizer(
    model: Classifier, config: Config, *, learning_rate: float
) -> torch.optim.Optimizer:
    """Make an optimizer of all parameters; frozen ones have no gradient and stay put.

    Parameters
    ----------
    config : Config
        Which optimizer, and its settings.
    learning_rate : float
        The greatest that will be set; some optimizers relate their weight decay to it.
    """
    name = config.optim.optimizer
    kind = get_optimizer_class(name, bind_defaults=False)
    # torch's fused SGD cannot be given layers one stage after another
    fused = isinstance(kind, type) and issubclass(kind, torch.optim.Adam)
    groups = parameter_groups(model, config)
    options = {"fused": True} if fused else {}
    made: torch.optim.Optimizer = create_optimizer_v2(groups, name, lr=learning_rate, **options)
    return made


def update(state: FoldState, settings: OptimConfig, rate: float, number: int) -> None:
    """Change the weights by the gradients that lie at them, and forget these.

    Parameters
    ----------
    rate : float
        Learning rate, before the groups' scales.
    number : int
        Updates before this one.

    Notes
    -----
    - clipping looks at the sum of all workers' gradients, so it does not depend on their number;
    - only float16 may skip an update, whose gradients have overflown.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = rate * group["scale"]
    if settings.clip_grad:
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.model.parameters(), settings.clip_grad)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.optimizer.zero_grad(set_to_none=True)
    if state.average is not None:
        follow(state.average, state.model, settings.ema, number)
