"""What a pretrained network makes of images: features that say more than pixel statistics."""

import numpy as np
from numpy.typing import NDArray

from folds.augment import to_input
from folds.images import ImageSet
from folds.model.backbone import build, input_size
from folds.model.folding import predicting
from folds.model.weights import State
from folds.runtime.device import Runtime, as_tensor

_BATCH = 64


def deep_features(
    images: ImageSet, backbone: str, weights: State | None, runtime: Runtime
) -> NDArray[np.float32]:
    """Pass images through a backbone up to where its classifier would begin.

    Parameters
    ----------
    images : ImageSet
        N images.
    backbone : str
        A timm model.
    weights : dict of str to Tensor, or None
        Of the backbone without classifier; None: random ones, always the same.
    runtime : Runtime
        What to compute on.

    Returns
    -------
    ndarray of float32, shape (N, D)
        Pooled features.

    Notes
    -----
    An image's features do not depend on the images beside it.
    """
    size = input_size(backbone, "auto", min(images.pixels.shape[1:3]))
    model = build(backbone, classes=2, size=size, dropout=0.0, pretrained=weights, seed=0)
    runtime.place(model)
    features = []
    with predicting(model), runtime.autocast():
        for first in range(0, len(images), _BATCH):
            batch = as_tensor(images.pixels[first : first + _BATCH]).to(runtime.device)
            pooled = model.frozen_features(to_input(batch, size), len(model.chain))
            features.append(pooled.float().cpu().numpy())
    return np.concatenate(features)
