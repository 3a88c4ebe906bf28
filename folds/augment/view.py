"""From an image's bytes to the network's input: its plain view, and its augmented one."""

import torch
from torch import Tensor

from folds.arrays import Floats
from folds.augment.policy import Policy


def to_input(pixels: Tensor, size: int) -> Tensor:
    """The plain view of images: floats of the network's input size.

    Parameters
    ----------
    pixels : Tensor of uint8, shape (B, H, W, 3)

    Returns
    -------
    Tensor of float32, shape (B, 3, size, size)
        In [0, 1].
    """
    image = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    image.div_(255)  # in place: `to` has copied
    if image.shape[-2:] == (size, size):
        return image
    return torch.nn.functional.interpolate(
        image, (size, size), mode="bilinear", align_corners=False,
        antialias=max(image.shape[-2:]) > size,
    )  # fmt: skip


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
