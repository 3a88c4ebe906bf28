"""Table-driven augmentation on the device: one warp, one colour matrix.

The table of `folds.batches.uniform_table` supplies the randomness, Kornia supplies the operations.
Shapes: B images of a batch, H and W their size, S the side of the network's input.
"""

import math

import torch
from kornia.geometry.transform import get_affine_matrix2d, warp_affine
from torch import Tensor

from folds.config import AugmentConfig

COLUMNS = 12  # uniform numbers an image and epoch
_GREY = (0.299, 0.587, 0.114)  # luma weights of Kornia's rgb_to_grayscale (ITU-R BT.601)


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
    image = _floats(pixels)
    if image.shape[-2:] == (size, size):
        return image
    return torch.nn.functional.interpolate(
        image, (size, size), mode="bilinear", align_corners=False,
        antialias=max(image.shape[-2:]) > size,
    )  # fmt: skip


def augment(pixels: Tensor, numbers: Tensor, config: AugmentConfig, size: int) -> Tensor:
    """The augmented view of images, a function of each image and its row of the table.

    Parameters
    ----------
    pixels : Tensor of uint8, shape (B, H, W, 3)
    numbers : Tensor of float32, shape (B, COLUMNS)
        In [0, 1); row b belongs to image b.

    Returns
    -------
    Tensor of float32, shape (B, 3, size, size)
        In [0, 1].

    Notes
    -----
    - an image's result does not depend on the rest of the batch;
    - with every strength at 0 the result is `to_input`'s;
    - the geometric part equals Kornia's RandomHorizontalFlip, RandomVerticalFlip and RandomAffine
      one after another (but interpolates once), the colour part its brightness, contrast and
      saturation with one clamp at the end instead of three.
    """
    image = to_input(pixels, size)
    return recolour(warp(image, geometry(numbers, config, size)), colour(numbers, config))


def geometry(numbers: Tensor, config: AugmentConfig, size: int) -> Tensor:
    """Compose flips, rotation, shift, zoom and shear to one matrix an image.

    Returns
    -------
    Tensor of float32, shape (B, 3, 3)
        From input to output pixel coordinates, both (x, y).
    """
    spread = 2 * numbers - 1
    flips = _flip_matrix(numbers[:, 0] < config.flip_horizontal, 0, size)
    flips = _flip_matrix(numbers[:, 1] < config.flip_vertical, 1, size) @ flips
    centre = torch.full_like(numbers[:, :2], (size - 1) / 2)
    zoom = 1 + config.scale * spread[:, 5]
    shear = math.radians(config.shear) * spread[:, 6:8]
    affine = get_affine_matrix2d(
        config.translate * size * spread[:, 3:5],
        centre,
        torch.stack([zoom, zoom], dim=1),
        config.rotate * spread[:, 2],
        shear[:, 0],
        shear[:, 1],
    )
    return affine @ flips


def warp(image: Tensor, matrix: Tensor) -> Tensor:
    """Apply one matrix an image by bilinear sampling; outside lies the image's reflection.

    Parameters
    ----------
    image : Tensor of float32, shape (B, 3, S, S)
    matrix : Tensor of float32, shape (B, 3, 3)
    """
    side = image.shape[-1]
    return warp_affine(
        image, matrix[:, :2], (side, side), padding_mode="reflection", align_corners=True
    )


def colour(numbers: Tensor, config: AugmentConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Draw brightness, then contrast, then a matrix of saturation and hue.

    Returns
    -------
    brightness, contrast : Tensor of float32, shape (B,)
        Factors.
    matrix : Tensor of float32, shape (B, 3, 3)
        Applied to RGB columns; keeps grey as it is.

    Notes
    -----
    Hue is the linear rotation about the grey axis, not the HSV shift of Kornia's `adjust_hue`; the
    two agree at multiples of a third of a turn. Between, hues turn equally far to within a quarter,
    but brightness and saturation move too.
    """
    spread = 2 * numbers - 1
    brightness = 1 + config.brightness * spread[:, 8]
    contrast = 1 + config.contrast * spread[:, 9]
    saturation = 1 + config.saturation * spread[:, 10]
    turn = 2 * math.pi * config.hue * spread[:, 11]
    return brightness, contrast, hue_matrix(turn) @ saturation_matrix(saturation)


def recolour(image: Tensor, change: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Apply the change of `colour` as one 3x3 matrix and one offset an image.

    Parameters
    ----------
    image : Tensor of float32, shape (B, 3, S, S)
        In [0, 1].
    """
    brightness, contrast, matrix = change
    grey = image.new_tensor(_GREY)
    mean = image.mean(dim=(2, 3)) @ grey  # of each image: contrast is about its mean grey
    linear = matrix * (brightness * contrast)[:, None, None]
    offset = (1 - contrast) * brightness * mean  # grey, which the matrix leaves alone
    flat = torch.baddbmm(offset[:, None, None].expand(-1, 3, 1), linear, image.flatten(2))
    return flat.clamp_(0, 1).view_as(image)


def saturation_matrix(factor: Tensor) -> Tensor:
    """Matrices (B, 3, 3) that blend with the grey image: ``(1 - s) grey + s image``."""
    grey = factor.new_tensor(_GREY).expand(3, 3)
    eye = torch.eye(3, device=factor.device, dtype=factor.dtype)
    return grey + factor[:, None, None] * (eye - grey)


def hue_matrix(angle: Tensor) -> Tensor:
    """Matrices (B, 3, 3) that rotate RGB about the grey axis by angles in radians (Rodrigues)."""
    eye = torch.eye(3, device=angle.device, dtype=angle.dtype)
    cross = angle.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    cosine, sine = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    return cosine * eye + (1 - cosine) / 3 + sine * cross


def _floats(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format) / 255


def _flip_matrix(chosen: Tensor, axis: int, size: int) -> Tensor:
    """Mirror the chosen images along an axis (0: x, 1: y) in pixel coordinates."""
    matrix = torch.eye(3, device=chosen.device).repeat(len(chosen), 1, 1)
    matrix[:, axis, axis] = torch.where(chosen, -1.0, 1.0)
    matrix[:, axis, 2] = torch.where(chosen, size - 1.0, 0.0)
    return matrix
