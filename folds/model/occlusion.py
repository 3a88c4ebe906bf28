"""Where in an image an answer comes from: what becomes of it when a part is hidden."""

from collections.abc import Sequence
from typing import cast

import numpy as np
from captum.attr import Occlusion
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from folds.arrays import Floats
from folds.model.backbone import Classifier
from folds.model.folding import predicting

SIDE = 8  # places of a map, twice as many as squares that are hidden would fill
_LEAST = 1e-12  # of a probability, so that its odds are finite


def heat_maps(model: Classifier, images: Tensor, classes: Sequence[int]) -> Floats:
    """How much of the log odds of a class is lost where a place of an image is hidden.

    A square of a quarter of the image's side takes the image's mean colour and moves over it by
    half its width, 7 times 7 times; a place has the mean of what is lost by those that cover it
    (Zeiler and Fergus 2014).

    Parameters
    ----------
    model : Classifier
        Ends in evaluation mode.
    images : Tensor of float32, shape (B, 3, size, size)
        In [0, 1], on the model's device; at least one.
    classes : sequence of int, length B

    Returns
    -------
    ndarray of float32, shape (B, SIDE, SIDE)
        Above 0 what speaks for the class, below 0 what speaks against it.

    Notes
    -----
    - the map of an image does not depend on those beside it;
    - it tells where what this network uses is, not why, nor that it is right; that a map looks
      sensible is no evidence of either (Adebayo et al. 2018);
    - any network will do. Maps of its last features (Grad-CAM) fail for vision transformers, whose
      last tokens have looked at each other (LOG.md).

    References
    ----------
    Zeiler and Fergus: Visualizing and understanding convolutional networks, ECCV 2014.
    Adebayo et al.: Sanity checks for saliency maps, NeurIPS 2018.
    """

    def log_odds(batch: Tensor) -> Tensor:
        probabilities = cast(Tensor, model(batch)).double().softmax(dim=1)
        return probabilities.logit(eps=_LEAST)

    method, step = Occlusion(log_odds), -(-images.shape[-1] // SIDE)
    square = -(-images.shape[-1] // (SIDE // 2))
    maps = []
    with predicting(model):
        for image, target in zip(images[:, None], classes, strict=True):
            lost = method.attribute(
                image,
                sliding_window_shapes=(3, square, square),
                strides=(3, step, step),
                baselines=image.mean(dim=(2, 3), keepdim=True),
                target=target,
                perturbations_per_eval=SIDE**2,
            )
            maps.append(adaptive_avg_pool2d(lost[:, 0], SIDE).float().cpu().numpy())
    return np.concatenate(maps)
