"""Weights between the network before its backbone was unfrozen and the trained one (WiSE-FT)."""

import torch

from folds.model.soup import Weights, moved_norms, renew
from folds.training.checkpoint import FoldState
from folds.training.context import FoldContext
from folds.training.ema import averaged, first_average
from folds.training.predict import training_images


def interpolated(context: FoldContext, state: FoldState, weights: Weights) -> Weights:
    """The weights that are validated and kept, of those that training has reached.

    Parameters
    ----------
    weights : dict of str to Tensor
        Of the network, or their moving average, on the device.

    Returns
    -------
    dict of str to Tensor
        ``alpha`` of the weights and ``1 - alpha`` of the state's anchor; the weights themselves
        where there is no anchor. Statistics of batch norm that have moved since are computed anew.

    Notes
    -----
    - the state's model is left as it was, so training does not notice;
    - what equals the anchor stays so to the last bit;
    - each worker computes all of it, and the same.

    References
    ----------
    Wortsman et al., Robust Fine-Tuning of Zero-Shot Models, CVPR 2022.
    """
    anchor, alpha = state.anchor, context.problem.config.optim.wise_ft
    if anchor is None:
        return weights
    mixed = {
        name: torch.lerp(anchor[name], tensor, alpha) if tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
    }
    if norms := moved_norms([anchor, weights]):
        with averaged(state.model, mixed):
            with context.runtime.autocast():
                renew(state.model, norms, training_images(context))
            mixed = first_average(state.model)
    return mixed
