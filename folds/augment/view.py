"""From an image's bytes to the network's input: its plain view, and its augmented one."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from folds.arrays import Floats
from folds.augment.policy import Policy
from folds.images.resize import TAP_BITS, bicubic_taps, cover


def to_input(pixels: Tensor, size: int) -> Tensor:
    """The plain view of images: floats of the network's input size.

    Parameters
    ----------
    pixels : Tensor of uint8, shape (B, H, W, 3)

    Returns
    -------
    Tensor of float32, shape (B, 3, size, size)
        In [0, 1]: what `folds.images.resize.cover` makes of each image, to the last bit.
    """
    height, width = pixels.shape[1:3]
    if (height, width) != (size, size):
        on_device = height == width < size and pixels.device.type != "cpu"
        pixels = (_enlarged if on_device else _covered)(pixels, size)
    image = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return image.div_(255)  # in place: `to` has copied


def _covered(pixels: Tensor, size: int) -> Tensor:
    """Images (B, size, size, 3), uint8; on a processor ten times as fast as `_enlarged`."""
    images = [cover(Image.fromarray(one), size) for one in pixels.cpu().numpy()]
    return torch.from_numpy(np.array(images, np.uint8).reshape(-1, size, size, 3)).to(pixels.device)


def _enlarged(pixels: Tensor, size: int) -> Tensor:
    """As `_covered`, of smaller squares alone: in whole numbers on any device."""
    places, weights = map(torch.from_numpy, bicubic_taps(pixels.shape[1], size))
    places, weights = places.to(pixels.device), weights.to(pixels.device)
    for axis, shape in ((2, (1, 1, -1, 1)), (1, (1, -1, 1, 1))):  # Pillow begins with the rows
        total = torch.tensor(2 ** (TAP_BITS - 1), dtype=torch.int32, device=pixels.device)
        for place, weight in zip(places, weights, strict=True):
            total = total + pixels.index_select(axis, place) * weight.view(shape)
        pixels = (total >> TAP_BITS).clamp_(0, 255).to(torch.uint8)
    return pixels


@torch.no_grad()
def augment(pixels: Tensor, numbers: Floats, policy: Policy, size: int) -> Tensor:
    """The augmented view of images, before any mixing: a function of each image and its row.

    Parameters
    ----------
    pixels : Tensor of uint8, shape (B, H, W, 3)
    numbers : ndarray of float32, shape (B, policy.columns)
        In [0, 1); row b belongs to image b.

    Returns
    -------
    Tensor of float32, shape (B, 3, size, size)
        In [0, 1].

    Notes
    -----
    - an image's result does not depend on the rest of the batch;
    - with every probability at 0 the result is `to_input`'s.
    """
    return policy.apply(to_input(pixels, size), numbers)
