"""Rendered blood cells: how a class looks, how a laboratory shows it, and the picture of both.

Nucleus shape, chromatin, granules and cytoplasm tell classes apart; position, size, turn, stain,
light and focus vary freely, so that no single pixel tells much.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

SIDE = 64
PLASMA = (0.93, 0.88, 0.86)
_ROWS, _COLUMNS = np.mgrid[:SIDE, :SIDE].astype(np.float32)

Array = NDArray[np.floating]
Colour = tuple[float, ...]  # red, green, blue, in [0, 1]
Range = tuple[float, float]
Lobe = tuple[float, float, float]  # x, y, radius, in cell radii


@dataclass(frozen=True)
class Look:
    """How a class looks; lengths in pixels of a 64-pixel image.

    Parameters
    ----------
    radius : pair of float
        Of the cell, the least and the greatest.
    cytoplasm, nucleus : Colour
    lobes : tuple of tuples of Lobe
        Nuclei that it may have.
    granules : (float, Colour, float)
        Mean number, colour and radius.
    vacuoles : float
        Mean number.
    grain : float
        How uneven the chromatin is.
    """

    radius: tuple[float, ...]
    cytoplasm: Colour
    nucleus: Colour
    lobes: tuple[tuple[Lobe, ...], ...]
    granules: tuple[float, Colour, float] = (0.0, (0.0, 0.0, 0.0), 0.0)
    vacuoles: float = 0.0
    grain: float = 0.05

    def towards(self, other: "Look", share: float, *, nucleus: bool) -> "Look":
        """The look of a cell between two classes.

        Parameters
        ----------
        share : float
            How far it is on its way, 0 to 1.
        nucleus : bool
            Whether its nucleus has the shape of the other's.
        """

        def mixed(mine: Colour, theirs: Colour) -> Colour:
            return tuple(a + share * (b - a) for a, b in zip(mine, theirs, strict=True))

        numbers = (self.granules[0], self.vacuoles, self.grain)
        granules, vacuoles, grain = mixed(numbers, (other.granules[0], other.vacuoles, other.grain))
        grainy = max(self, other, key=lambda look: look.granules[0])
        return Look(
            mixed(self.radius, other.radius),
            mixed(self.cytoplasm, other.cytoplasm),
            mixed(self.nucleus, other.nucleus),
            (other if nucleus else self).lobes,
            (granules, *grainy.granules[1:]),
            vacuoles,
            grain,
        )


@dataclass(frozen=True)
class Laboratory:
    """How a laboratory shows cells.

    Parameters
    ----------
    framing : float
        Magnification; 1: lengths are those of the looks.
    stain : float
        How far colours are from the plasma's; 1: as the looks say.
    tint : Colour
        Of the light, 1 being white; `tint_spread` is its standard deviation from image to image.
    light : pair of float
        Brightness, the least and the greatest.
    focus : pair of float
        Standard deviation of the blur in pixels.
    noise : pair of float
        Standard deviation of the camera's.
    """

    framing: float = 1.0
    stain: float = 1.0
    tint: Colour = (1.0, 1.0, 1.0)
    tint_spread: float = 0.03
    light: Range = (0.86, 1.08)
    focus: Range = (0.4, 1.1)
    noise: Range = (0.01, 0.04)


def render(look: Look, laboratory: Laboratory, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A cell among red ones, seen through a laboratory's microscope.

    Parameters
    ----------
    rng : Generator
        All that varies.

    Returns
    -------
    ndarray of uint8, shape (64, 64, 3)
    """
    image = np.tile(np.asarray(PLASMA, np.float32), (SIDE, SIDE, 1))
    for _ in range(rng.integers(2, 7)):
        _red_cell(image, laboratory.framing, rng)
    centre = SIDE / 2 + rng.uniform(-11, 11, 2)
    least, greatest = look.radius
    radius = rng.uniform(least, greatest) * laboratory.framing
    _white_cell(image, look, centre, radius, rng)
    image = PLASMA + laboratory.stain * (image - PLASMA)
    return _photographed(image, laboratory, rng)


def _photographed(
    image: Array, laboratory: Laboratory, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Colour and slope of the light, focus, noise."""
    tint = rng.normal(laboratory.tint, laboratory.tint_spread) * rng.uniform(*laboratory.light)
    slope = rng.normal(0, 0.06, 2)
    axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
    light = 1 + slope[0] * axis[:, None] + slope[1] * axis[None, :]
    focus = rng.uniform(*laboratory.focus)
    image = gaussian_filter(image, (focus, focus, 0), mode="nearest") * light[..., None] * tint
    image += rng.normal(0, rng.uniform(*laboratory.noise), image.shape)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _distance(centre: Array, stretch: float, turn: float) -> Array:
    """Distance of each pixel from a centre, along an ellipse's axes."""
    dx, dy = _COLUMNS - centre[0], _ROWS - centre[1]
    along = dx * np.cos(turn) + dy * np.sin(turn)
    across = -dx * np.sin(turn) + dy * np.cos(turn)
    return np.hypot(along * stretch, across / stretch)


def _paint(image: Array, mask: Array, colour: Array | Colour) -> None:
    image += mask[..., None] * (np.asarray(colour, np.float32) - image)


def _disc(distance: Array, radius: float, *, edge: float = 1.0) -> Array:
    return np.clip((radius - distance) / edge + 0.5, 0, 1)


def _red_cell(image: Array, framing: float, rng: np.random.Generator) -> None:
    distance = _distance(rng.uniform(-6, SIDE + 6, 2), rng.uniform(0.9, 1.1), rng.uniform(0, np.pi))
    radius = rng.uniform(9, 13) * framing
    _paint(image, 0.9 * _disc(distance, radius), (0.88, 0.66, 0.64))
    _paint(image, 0.6 * _disc(distance, radius * 0.45, edge=4.0), (0.93, 0.82, 0.79))


def _white_cell(
    image: Array, look: Look, centre: Array, radius: float, rng: np.random.Generator
) -> None:
    turn, mirror = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1])
    stretch = rng.uniform(0.9, 1.12)
    body = _disc(_distance(centre, stretch, turn), radius)
    jitter = rng.normal(0, 0.03, 3)
    _paint(image, 0.95 * body, np.clip(np.add(look.cytoplasm, jitter), 0, 1))
    nucleus = np.zeros_like(body)
    for x, y, size in look.lobes[rng.integers(len(look.lobes))]:
        x, y = np.add((x, y), rng.normal(0, 0.07, 2)) * (radius, radius * mirror)
        place = centre + np.array([np.cos(turn) * x - np.sin(turn) * y,
                                   np.sin(turn) * x + np.cos(turn) * y])  # fmt: skip
        lobe = _distance(place, rng.uniform(0.9, 1.1), rng.uniform(0, np.pi))
        nucleus = np.maximum(nucleus, _disc(lobe, radius * size * rng.uniform(0.9, 1.1)))
    chromatin = 1 + look.grain * 3 * gaussian_filter(rng.normal(0, 1, (SIDE, SIDE)), 1.0)[..., None]
    _paint(image, 0.95 * nucleus * body, np.add(look.nucleus, jitter) * chromatin)
    count, colour, size = look.granules
    _dots(image, body, _inside(centre, radius * 0.9, rng.poisson(count), rng), size, colour)
    vacuoles = _inside(centre, radius * 0.8, rng.poisson(look.vacuoles), rng)
    _dots(image, body, vacuoles, 1.6, (0.88, 0.86, 0.92))


def _dots(image: Array, body: Array, places: Array, radius: float, colour: Colour) -> None:
    """Paint equal small discs, those that lie within the cell's body."""
    if not len(places):
        return
    squared = (_COLUMNS - places[:, 0, None, None]) ** 2 + (_ROWS - places[:, 1, None, None]) ** 2
    _paint(image, 0.75 * body * _disc(np.sqrt(squared.min(axis=0)), radius), colour)


def _inside(centre: Array, radius: float, count: int, rng: np.random.Generator) -> Array:
    """Random points in a disc."""
    angle, reach = rng.uniform(0, 2 * np.pi, count), radius * np.sqrt(rng.uniform(0, 1, count))
    return centre + np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=1)
