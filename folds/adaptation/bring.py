"""Bring single images to training's appearance: their colours, and how large their object is."""

from collections.abc import Collection

import torch
from torch import Tensor
from torch.nn import functional

from folds.adaptation.appearance import Appearance, Looks, distance, looks_of

_STEEPEST = 4.0  # factor of contrast: beyond it there is noise alone
_LEAST = 0.01  # between two levels
_ZOOM = 3.0  # at most, either way


def bring(images: Tensor, appearance: Appearance, kinds: Collection[str]) -> Tensor:
    """Bring those images that are unlike training's to what is usual there.

    Parameters
    ----------
    images : Tensor of float32, shape (B, 3, S, S)
        In [0, 1].
    kinds : collection of str
        ``colour``, ``framing``, both or others, which are no affair of single images.

    Returns
    -------
    Tensor of float32, shape (B, 3, S, S)
        In [0, 1].

    Notes
    -----
    - an image's result does not depend on the others;
    - an image whose levels and whose object's radius are usual in training (as in 95% and 90% of
      its images) comes back as it is, to the last bit.
    """
    if "colour" in kinds:
        images = _recolour(images, looks_of(images), appearance)
    if "framing" in kinds:
        images = _reframe(images, looks_of(images), appearance)
    return images


def unlike(looks: Looks, appearance: Appearance) -> tuple[Tensor, Tensor]:
    """Whether images are unlike training's: of bool, shape (B,), in colour and in framing."""
    usual = torch.tensor(appearance.levels, device=looks.levels.device)
    radius = looks.foreground.radius
    outside = (radius < appearance.radius[0]) | (radius > appearance.radius[3])
    return (
        distance(looks.levels, usual) > appearance.limit + 1e-6,
        outside & looks.foreground.found,
    )


def _recolour(images: Tensor, looks: Looks, appearance: Appearance) -> Tensor:
    """Move the levels of a channel into the middle half of training's, linearly in between.

    After Reinhard et al., Color Transfer between Images, 2001, where mean and spread are moved: two
    slopes with the median between them follow a picture that is light with dark objects.
    """
    usual = torch.tensor(appearance.levels, device=images.device)
    levels, wanted = looks.levels, looks.levels.clamp(usual[1], usual[2])
    rise = (wanted[..., 1:] - wanted[..., :-1]).clamp_min(0)
    slopes = (rise / (levels[..., 1:] - levels[..., :-1]).clamp_min(_LEAST)).clamp_max(_STEEPEST)
    away = images - levels[..., 1, None, None]
    steep = torch.where(away < 0, slopes[..., 0, None, None], slopes[..., 1, None, None])
    changed = (wanted[..., 1, None, None] + steep * away).clamp(0, 1)
    return torch.where(unlike(looks, appearance)[0].view(-1, 1, 1, 1), changed, images)


def _reframe(images: Tensor, looks: Looks, appearance: Appearance) -> Tensor:
    """Zoom about the object's centre until its radius is in the middle half of training's."""
    radius, centre = looks.foreground.radius.clamp_min(1e-3), looks.foreground.centre
    wanted = radius.clamp(appearance.radius[1], appearance.radius[2])
    shrink = (radius / wanted).clamp(1 / _ZOOM, _ZOOM)
    change = torch.zeros(len(images), 2, 3, device=images.device)
    change[:, 0, 0] = change[:, 1, 1] = shrink
    change[:, :, 2] = centre * (1 - shrink)[:, None]
    grid = functional.affine_grid(change, list(images.shape), align_corners=False)
    zoomed = functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return torch.where(unlike(looks, appearance)[1].view(-1, 1, 1, 1), zoomed.clamp(0, 1), images)
