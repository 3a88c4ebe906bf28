"""Geometry: each operation is a matrix an image, all of them together are one warp.

Matrices are made on the host, in NumPy, from rows of the table. They lead from input to output
coordinates (x, y, 1), in which the centres of an image's outer pixels lie at -1 and 1.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from kornia.geometry.transform import get_perspective_transform
from numpy.typing import NDArray
from torch import Tensor

from folds.arrays import Floats
from folds.augment.draws import Draw, signed
from folds.augment.noise import uniforms

Matrices = NDArray[np.float64]
_NODES = 4  # of the elastic displacement along a side; cubic between them
_CORNERS = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])


def _matrices(count: int, **cells: NDArray | float) -> Matrices:
    """Identity matrices, but for cells named after their row and column."""
    matrices = np.tile(np.eye(3), (count, 1, 1))
    for name, value in cells.items():
        matrices[:, int(name[1]), int(name[2])] = value
    return matrices


def _turn(angle: NDArray) -> Matrices:
    """Rotate by angles in radians, counter-clockwise on the screen, whose y points down."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return _matrices(len(angle), m00=cosine, m01=sine, m10=-sine, m11=cosine)


def flip_horizontal(numbers: Floats) -> Matrices:
    """Mirror left and right."""
    return _matrices(len(numbers), m00=-1.0)


def flip_vertical(numbers: Floats) -> Matrices:
    """Mirror top and bottom."""
    return _matrices(len(numbers), m11=-1.0)


def quarter_turn(numbers: Floats) -> Matrices:
    """Turn by 0, 90, 180 or 270 degrees."""
    return _turn(np.floor(4 * numbers[:, 0]) * np.pi / 2).round()


def rotate(numbers: Floats, max: float) -> Matrices:
    """Turn by up to `max` degrees."""
    return _turn(np.radians(signed(numbers, max)))


def shear_x(numbers: Floats, max: float) -> Matrices:
    """Shift rows, so that columns lean by up to `max` degrees."""
    return _matrices(len(numbers), m01=np.tan(np.radians(signed(numbers, max))))


def shear_y(numbers: Floats, max: float) -> Matrices:
    """Shift columns, so that rows lean by up to `max` degrees."""
    return _matrices(len(numbers), m10=np.tan(np.radians(signed(numbers, max))))


def zoom(numbers: Floats, max: float) -> Matrices:
    """Enlarge by a factor of up to ``1 + max``, or reduce to ``1 - max``."""
    factor = 1 + signed(numbers, max)
    return _matrices(len(numbers), m00=factor, m11=factor)


def scale(numbers: Floats, min: float, max: float) -> Matrices:
    """Enlarge or reduce by a factor from `min` to `max`, its logarithm evenly spread."""
    factor = min * (max / min) ** numbers[:, 0]
    return _matrices(len(numbers), m00=factor, m11=factor)


def translate_x(numbers: Floats, max: float) -> Matrices:
    """Shift by up to `max` of a side to the right or left."""
    return _matrices(len(numbers), m02=2 * signed(numbers, max))


def translate_y(numbers: Floats, max: float) -> Matrices:
    """Shift by up to `max` of a side down or up."""
    return _matrices(len(numbers), m12=2 * signed(numbers, max))


def perspective(numbers: Floats, max: float) -> Matrices:
    """Move each corner inwards by up to `max` of half a side, in both directions."""
    moved = _CORNERS * (1 - max * torch.from_numpy(numbers).reshape(-1, 4, 2))
    return get_perspective_transform(_CORNERS.expand_as(moved), moved).double().numpy()


def crop(numbers: Floats, max: float) -> Matrices:
    """Enlarge a part of the image to the whole.

    Its area is ``1 - max`` to 1 of the whole, its sides are as 3 to 4 up to 4 to 3, and never
    longer than the image's.
    """
    area = 1 - max * numbers[:, 0]
    stretch = np.minimum(np.log(4 / 3), -np.log(area)) * (2 * numbers[:, 1] - 1)
    width, height = np.sqrt(area * np.exp(stretch)), np.sqrt(area / np.exp(stretch))
    right, down = ((1 - side) * (2 * numbers[:, i] - 1) for side, i in ((width, 2), (height, 3)))
    return _matrices(
        len(numbers), m00=1 / width, m02=-right / width, m11=1 / height, m12=-down / height
    )


OPERATIONS: Mapping[str, Callable[..., Matrices]] = {
    f.__name__: f
    for f in (
        flip_horizontal, flip_vertical, quarter_turn, rotate, shear_x, shear_y, zoom, scale,
        translate_x, translate_y, perspective, crop,
    )
}  # fmt: skip


def compose(draws: Sequence[Draw], count: int) -> Matrices:
    """Matrices (B, 3, 3) of what was drawn for B images, the first operation innermost."""
    total = _matrices(count)
    for draw in draws:
        if draw.op in OPERATIONS:
            own = OPERATIONS[draw.op](draw.numbers, **draw.strengths)
            total[draw.rows] = own @ total[draw.rows]
    return total


def warp(image: Tensor, draws: Sequence[Draw]) -> Tensor:
    """Apply all geometry by one bilinear sampling; outside lies the image's reflection.

    Parameters
    ----------
    image : Tensor of float32, shape (B, 3, S, S)
    draws : sequence of Draw
        Of kind ``geometry``.

    Notes
    -----
    Perspective is a matrix like the others. An elastic displacement is added to the places that
    are sampled, so it costs no second interpolation. Images for which nothing was drawn are
    returned as they are.
    """
    if not draws:
        return image
    rows = np.unique(np.concatenate([draw.rows for draw in draws]))
    back = np.linalg.inv(compose(draws, len(image))[rows]).astype(np.float32)
    if all(draw.op != "perspective" for draw in draws):
        back = back[:, :2]
    grid = _places(torch.from_numpy(back).to(image.device, non_blocking=True), image.shape[-1])
    for draw in draws:
        if draw.op == "elastic":
            at = torch.from_numpy(np.searchsorted(rows, draw.rows)).to(image.device)
            field = elastic(draw.numbers, image.shape[-1], image.device, **draw.strengths)
            grid.index_add_(0, at, field)
    if len(rows) == len(image):
        return _sampled(image, grid)
    chosen = torch.from_numpy(rows).to(image.device, non_blocking=True)
    return image.index_copy(0, chosen, _sampled(image[chosen], grid))


def elastic(numbers: Floats, side: int, device: torch.device, max: float) -> Tensor:
    """Smooth random displacements.

    Returns
    -------
    Tensor of float32, shape (n, 2, side, side)
        Of x and y, in half sides; at most about `max` of a side, as often to one side as to the
        other.
    """
    nodes = 2 * uniforms(numbers[:, 1], 2 * _NODES**2, device).view(-1, 2, _NODES, _NODES) - 1
    reach = torch.from_numpy(2 * max * numbers[:, 0]).to(device, non_blocking=True)
    return torch.nn.functional.interpolate(
        nodes * reach[:, None, None, None], (side, side), mode="bicubic", align_corners=True
    )


def _places(back: Tensor, side: int) -> Tensor:
    """Where each output pixel comes from: (n, 2, side, side), by matrices (n, 2 or 3, 3)."""
    axis = torch.linspace(-1, 1, side, device=back.device)
    across, down, shift = back[..., None].unbind(2)  # (n, 2 or 3, 1) each
    places = (across * axis)[:, :, None] + (down * axis + shift)[..., None]
    return places if places.shape[1] == 2 else places[:, :2] / places[:, 2:]


def _sampled(image: Tensor, grid: Tensor) -> Tensor:
    return torch.nn.functional.grid_sample(
        image, grid.permute(0, 2, 3, 1), padding_mode="reflection", align_corners=True
    )
