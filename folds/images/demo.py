"""Images that need no download: rendered blood cells, and scikit-learn's digits.

The eight classes are those of the PBC data set (Acevedo et al., 2020), drawn after their textbook
look. As in a smear, cells stray towards related classes, so that some can hardly be told. Among
the cells of ``demo`` are planted things that a careful user should find, and whose ids say what
they are: ``junk``, ``copy``, ``wrong``. ``demo-lab2`` shows other cells of the same classes
as another laboratory would.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from folds.images.cells import Laboratory, Look, render
from folds.images.imageset import ImageSet, singletons
from folds.images.planted import Planted, copies, junk

CELLS = 970
MISLABELLED = 12
LAB2_CELLS = 240
HOME = Laboratory()
# a bluer lamp, a deeper stain, a closer framing, a worse focus
LAB2 = Laboratory(
    framing=1.25, stain=1.25, tint=(0.82, 0.88, 1.04), light=(0.74, 0.94), focus=(1.0, 1.9)
)
_SEED, _LAB2_SEED, _PLANTED_SEED = 20201, 20202, 20203
_STRAY = 0.55  # how far a cell may be on its way to a related class


@dataclass(frozen=True)
class _Class:
    """A class of the demo: its share of the cells, classes it is hard to tell from, its look."""

    share: float
    kin: tuple[str, ...]
    look: Look


_PURPLE, _DARK = (0.42, 0.24, 0.58), (0.26, 0.13, 0.42)
_RING = tuple(
    (0.5 * float(np.cos(a)), 0.5 * float(np.sin(a)), 0.3) for a in np.linspace(0.4, 5.0, 7)
)
_CLASSES = {
    "basophil": _Class(0.08, ("immature granulocyte",), Look(
        (15, 19), (0.78, 0.68, 0.82), _PURPLE,
        (((-0.25, 0.1, 0.5), (0.3, -0.1, 0.45)),), (55, (0.24, 0.10, 0.38), 1.6),
    )),
    "eosinophil": _Class(0.18, ("neutrophil",), Look(
        (16, 20), (0.93, 0.72, 0.66), _PURPLE,
        (((-0.42, 0.0, 0.38), (0.42, 0.05, 0.38)),), (60, (0.88, 0.48, 0.38), 1.5),
    )),
    "erythroblast": _Class(0.10, ("lymphocyte",), Look(
        (11, 15), (0.72, 0.70, 0.80), _DARK, (((0.05, 0.0, 0.58),),), grain=0.02,
    )),
    "immature granulocyte": _Class(0.16, ("monocyte", "neutrophil"), Look(
        (18, 23), (0.76, 0.68, 0.82), (0.50, 0.30, 0.64),
        (((-0.2, 0.0, 0.62), (-0.1, 0.3, 0.5)), ((-0.2, -0.25, 0.52), (-0.15, 0.3, 0.5))),
        (30, (0.58, 0.34, 0.62), 0.9),
    )),
    "lymphocyte": _Class(0.10, ("erythroblast", "monocyte"), Look(
        (11, 16), (0.68, 0.74, 0.90), (0.36, 0.20, 0.54), (((0.0, 0.05, 0.82),),),
    )),
    "monocyte": _Class(0.10, ("immature granulocyte", "lymphocyte"), Look(
        (18, 23), (0.70, 0.70, 0.80), (0.46, 0.30, 0.60), (_RING,), vacuoles=6,
    )),
    "neutrophil": _Class(0.16, ("eosinophil", "immature granulocyte"), Look(
        (15, 19), (0.92, 0.82, 0.84), _PURPLE,
        (
            ((-0.45, -0.3, 0.28), (-0.1, 0.3, 0.28), (0.4, 0.2, 0.28)),
            ((-0.45, -0.2, 0.25), (-0.25, 0.35, 0.25), (0.25, 0.4, 0.25), (0.45, -0.15, 0.25)),
        ),
        (25, (0.86, 0.70, 0.76), 0.8),
    )),
    "platelet": _Class(0.12, (), Look(
        (4, 8), (0.74, 0.64, 0.84), (0.52, 0.36, 0.66), (((0.0, 0.0, 0.5),),),
        (9, (0.48, 0.28, 0.60), 0.9), grain=0.08,
    )),
}  # fmt: skip
NAMES = tuple(_CLASSES)


def load() -> ImageSet:
    """The demo set: 1,000 images of (64, 64) pixels, 8 classes of unequal size, always the same.

    Notes
    -----
    Planted are 10 copies of images (half of them brighter and turned), 12 clear cells under the
    name of a class that looks quite different, and 8 images that are no cells.
    """
    plain = cells(CELLS)
    rng = np.random.default_rng(_PLANTED_SEED)
    planted = [*copies(plain, rng), *_mislabelled(rng), *junk(NAMES, rng)]
    labels = np.array([NAMES.index(each.name) for each in planted], np.int64)
    ids = np.concatenate([plain.ids, [f"{each.name}/{each.file}" for each in planted]])
    return ImageSet(
        np.concatenate([plain.pixels[:], np.stack([each.pixels for each in planted])]),
        np.concatenate([plain.labels, labels]),
        NAMES,
        ids,
        singletons(ids),
    )


def load_lab2() -> ImageSet:
    """Other cells of the same classes, as another laboratory shows them; nothing is planted."""
    return cells(LAB2_CELLS, LAB2, seed=_LAB2_SEED)


def cells(count: int, laboratory: Laboratory = HOME, *, seed: int = _SEED) -> ImageSet:
    """Render cells of the eight classes.

    Parameters
    ----------
    count : int
        About how many (each class's share is rounded).
    laboratory : Laboratory
        How they are shown.
    seed : int
        Which cells; images of the same seed are the same.
    """
    numbers = [round(count * each.share) for each in _CLASSES.values()]
    labels = np.repeat(np.arange(len(NAMES)), numbers).astype(np.int64)
    streams = np.random.default_rng(seed).spawn(len(labels))
    pixels = np.stack(
        [_cell(NAMES[c], laboratory, s) for c, s in zip(labels, streams, strict=True)]
    )
    serial = np.concatenate([np.arange(number) for number in numbers])
    ids = np.array([f"{NAMES[c]}/{i:04d}" for c, i in zip(labels, serial, strict=True)])
    return ImageSet(pixels, labels, NAMES, ids, singletons(ids))


def _cell(name: str, laboratory: Laboratory, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A cell of a class, which may be on its way to a related one."""
    look, kin = _CLASSES[name].look, _CLASSES[name].kin
    if kin:
        other = _CLASSES[kin[rng.integers(len(kin))]].look
        share = _STRAY * rng.beta(1, 3)
        look = look.towards(other, share, nucleus=rng.random() < share / 2)
    return render(look, laboratory, rng)


def _mislabelled(rng: np.random.Generator) -> Iterator[Planted]:
    """Clear cells, each under the name of a class that looks quite different."""
    for number in range(MISLABELLED):
        name = NAMES[rng.integers(len(NAMES))]
        others = [other for other in NAMES if not _related(name, other)]
        pixels = render(_CLASSES[name].look, HOME, rng)
        yield Planted(pixels, others[rng.integers(len(others))], f"wrong-{number:02d}")


def _related(name: str, other: str) -> bool:
    return name == other or name in _CLASSES[other].kin or other in _CLASSES[name].kin


def load_digits() -> ImageSet:
    """scikit-learn's 1,797 handwritten digits (Alpaydin and Kaynak, 1998), 8x8 made 32x32."""
    from sklearn.datasets import load_digits as sklearn_digits  # slow to import

    digits = sklearn_digits()
    grey = np.round(digits.images * (255 / 16)).astype(np.uint8)
    pixels = np.repeat(grey.repeat(4, axis=1).repeat(4, axis=2)[..., None], 3, axis=3)
    ids = np.array([f"{row:04d}" for row in range(len(pixels))], dtype=np.str_)
    names = tuple(str(name) for name in digits.target_names)
    return ImageSet(pixels, digits.target.astype(np.int64), names, ids, singletons(ids))
