"""Images that need no download: rendered blood cells, and scikit-learn's digits.

The cells follow the textbook look of the eight classes of the PBC data set (Acevedo et al.,
2020): nucleus shape, chromatin, granules and cytoplasm tell the classes apart, while position,
size, turn, stain, light and focus vary freely, so that no single pixel tells much.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from folds.images.imageset import ImageSet, singletons

SIDE = 64
COUNT = 1000
_SEED = 20201
_ROWS, _COLUMNS = np.mgrid[:SIDE, :SIDE].astype(np.float32)

Array = NDArray[np.floating]
Colour = tuple[float, float, float]
Lobe = tuple[float, float, float]  # x, y, radius, in cell radii


@dataclass(frozen=True)
class _Look:
    """How a class looks; lengths in pixels of a 64-pixel image."""

    share: float
    radius: tuple[float, float]
    cytoplasm: Colour
    nucleus: Colour
    lobes: tuple[tuple[Lobe, ...], ...]
    granules: tuple[int, Colour, float] = (0, (0.0, 0.0, 0.0), 0.0)
    vacuoles: int = 0
    grain: float = 0.05


_PURPLE, _DARK = (0.42, 0.24, 0.58), (0.26, 0.13, 0.42)
_RING = tuple(
    (0.5 * float(np.cos(a)), 0.5 * float(np.sin(a)), 0.3) for a in np.linspace(0.4, 5.0, 7)
)
_LOOKS = {
    "basophil": _Look(
        0.08, (15, 19), (0.78, 0.68, 0.82), _PURPLE,
        (((-0.25, 0.1, 0.5), (0.3, -0.1, 0.45)),), (55, (0.24, 0.10, 0.38), 1.6),
    ),
    "eosinophil": _Look(
        0.18, (16, 20), (0.93, 0.72, 0.66), _PURPLE,
        (((-0.42, 0.0, 0.38), (0.42, 0.05, 0.38)),), (60, (0.88, 0.48, 0.38), 1.5),
    ),
    "erythroblast": _Look(
        0.10, (11, 15), (0.72, 0.70, 0.80), _DARK, (((0.05, 0.0, 0.58),),), grain=0.02,
    ),
    "immature granulocyte": _Look(
        0.16, (18, 23), (0.76, 0.68, 0.82), (0.50, 0.30, 0.64),
        (((-0.2, 0.0, 0.62), (-0.1, 0.3, 0.5)), ((-0.2, -0.25, 0.52), (-0.15, 0.3, 0.5))),
        (30, (0.58, 0.34, 0.62), 0.9),
    ),
    "lymphocyte": _Look(
        0.10, (11, 16), (0.68, 0.74, 0.90), (0.36, 0.20, 0.54), (((0.0, 0.05, 0.82),),),
    ),
    "monocyte": _Look(
        0.10, (18, 23), (0.70, 0.70, 0.80), (0.46, 0.30, 0.60), (_RING,), vacuoles=6,
    ),
    "neutrophil": _Look(
        0.16, (15, 19), (0.92, 0.82, 0.84), _PURPLE,
        (
            ((-0.45, -0.3, 0.28), (-0.1, 0.3, 0.28), (0.4, 0.2, 0.28)),
            ((-0.45, -0.2, 0.25), (-0.25, 0.35, 0.25), (0.25, 0.4, 0.25), (0.45, -0.15, 0.25)),
        ),
        (25, (0.86, 0.70, 0.76), 0.8),
    ),
    "platelet": _Look(
        0.12, (4, 8), (0.74, 0.64, 0.84), (0.52, 0.36, 0.66), (((0.0, 0.0, 0.5),),),
        (9, (0.48, 0.28, 0.60), 0.9), grain=0.08,
    ),
}  # fmt: skip


def load(count: int = COUNT) -> ImageSet:
    """Render the demo set: 8 classes of unequal size, (64, 64) pixels, always the same.

    Parameters
    ----------
    count : int
        About how many images (each class's share is rounded).
    """
    names = tuple(_LOOKS)
    numbers = [round(count * look.share) for look in _LOOKS.values()]
    labels = np.repeat(np.arange(len(names)), numbers).astype(np.int64)
    streams = np.random.default_rng(_SEED).spawn(len(labels))
    pixels = np.stack([_render(names[c], s) for c, s in zip(labels, streams, strict=True)])
    serial = np.concatenate([np.arange(number) for number in numbers])
    ids = np.array([f"{names[c]}/{i:04d}" for c, i in zip(labels, serial, strict=True)])
    return ImageSet(pixels, labels, names, ids, singletons(ids))


def load_digits() -> ImageSet:
    """scikit-learn's 1,797 handwritten digits (Alpaydin and Kaynak, 1998), 8x8 made 32x32."""
    from sklearn.datasets import load_digits as sklearn_digits  # slow to import

    digits = sklearn_digits()
    grey = np.round(digits.images * (255 / 16)).astype(np.uint8)
    pixels = np.repeat(grey.repeat(4, axis=1).repeat(4, axis=2)[..., None], 3, axis=3)
    ids = np.array([f"{row:04d}" for row in range(len(pixels))], dtype=np.str_)
    names = tuple(str(name) for name in digits.target_names)
    return ImageSet(pixels, digits.target.astype(np.int64), names, ids, singletons(ids))


def _render(name: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One image: plasma, red cells, the cell itself, then stain, light, focus and noise."""
    look = _LOOKS[name]
    image = np.tile(np.array([0.93, 0.88, 0.86], np.float32), (SIDE, SIDE, 1))
    for _ in range(rng.integers(2, 7)):
        _red_cell(image, rng)
    centre = SIDE / 2 + rng.uniform(-11, 11, 2)
    radius = rng.uniform(*look.radius)
    _white_cell(image, look, centre, radius, rng)
    tint = rng.normal(1.0, 0.06, 3) * rng.uniform(0.82, 1.12)
    slope = rng.normal(0, 0.06, 2)
    axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
    light = 1 + slope[0] * axis[:, None] + slope[1] * axis[None, :]
    focus = rng.uniform(0.4, 1.1)
    image = gaussian_filter(image, (focus, focus, 0), mode="nearest") * light[..., None] * tint
    image += rng.normal(0, rng.uniform(0.01, 0.04), image.shape)
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


def _red_cell(image: Array, rng: np.random.Generator) -> None:
    distance = _distance(rng.uniform(-6, SIDE + 6, 2), rng.uniform(0.9, 1.1), rng.uniform(0, np.pi))
    radius = rng.uniform(9, 13)
    _paint(image, 0.9 * _disc(distance, radius), (0.88, 0.66, 0.64))
    _paint(image, 0.6 * _disc(distance, radius * 0.45, edge=4.0), (0.93, 0.82, 0.79))


def _white_cell(
    image: Array, look: _Look, centre: Array, radius: float, rng: np.random.Generator
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
