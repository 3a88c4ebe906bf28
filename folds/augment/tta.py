"""Test-time augmentation: the probabilities of an image, averaged over some of its views."""

from collections.abc import Callable

import torch
from kornia.geometry.transform import get_affine_matrix2d, warp_affine
from torch import Tensor

from folds.config.head import MOST_VIEWS
from folds.sampling import uniform_table

_TURN, _SHIFT, _ZOOM, _LIGHT = 10.0, 0.04, 0.06, 0.08  # degrees; share of a side; factors 1 -+ x
_SEED, _COLUMNS = 0, 7

Function = Callable[[Tensor], Tensor]  # of images (B, 3, S, S)


def views(kind: str) -> list[Function]:
    """The views of an image, the plain one first.

    Parameters
    ----------
    kind : str
        As `folds.config.head.check_tta` gives it. flips: mirrored along none, either or both axes;
        d4: all symmetries of a square; N: the plain view and N - 1 light ones, each a symmetry of
        the square, a small turn, shift and zoom, and a change of brightness, drawn once and for all
        from a fixed table.

    Returns
    -------
    list of callable
        Each from images (B, 3, S, S), float32 in [0, 1], to their view, of the same kind.

    Notes
    -----
    A view is the same function for every image, batch and machine.
    """
    if kind.isdecimal():
        table = uniform_table(_SEED, 0, MOST_VIEWS, _COLUMNS)[: int(kind) - 1]
        return [_symmetry(0), *(_light(torch.from_numpy(row)) for row in table)]
    return [_symmetry(number) for number in range({"none": 1, "flips": 4, "d4": 8}[kind])]


def mean_probabilities(model: Function, images: Tensor, kind: str) -> Tensor:
    """Probabilities (B, C), float32, of images in [0, 1]: the mean over the views."""
    each = [model(view(images)).float().softmax(dim=1) for view in views(kind)]
    return torch.stack(each).mean(dim=0)


def _symmetry(number: int) -> Function:
    """Mirror along x (bit 0) and y (bit 1), swap the axes (bit 2)."""
    axes = [axis for bit, axis in ((1, 3), (2, 2)) if number & bit]

    def view(images: Tensor) -> Tensor:
        mirrored = images.flip(axes) if axes else images
        return mirrored.mT if number & 4 else mirrored

    return view


def _light(row: Tensor) -> Function:
    """A light view from one row of the table."""
    symmetry, spread = _symmetry(int(row[0] * 8)), 2 * row[1:] - 1
    light = 1 + _LIGHT * float(spread[4])

    def view(images: Tensor) -> Tensor:
        side = images.shape[-1]
        matrix = get_affine_matrix2d(
            _SHIFT * side * spread[None, 0:2],
            torch.full((1, 2), (side - 1) / 2),
            1 + _ZOOM * spread[None, [2, 2]],
            _TURN * spread[3:4],
        )[:, :2]
        turned = warp_affine(
            symmetry(images), matrix.to(images.device).expand(images.shape[0], 2, 3), (side, side),
            padding_mode="reflection", align_corners=True,
        )  # fmt: skip
        return (turned * light).clamp(0, 1)

    return view
