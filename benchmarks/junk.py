"""Ask a model about pictures that are none of its classes, and count how many it knows as such.

Run: python -m benchmarks.junk --model kept/strong --data images/ --trained-on 2000
     --external lab2=other/

``--model`` is a bundle, as `benchmarks.robust --keep` leaves them. Twelve kinds of junk are drawn
here or cropped from the photographs of scikit-learn. The model is asked about tables of its own
laboratory's images that it was not trained on, with one junk picture in twenty among them; and
about another's in the same way, adapted to them or not.
"""

import argparse
import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_images

from benchmarks.inputs import place_parser, places
from benchmarks.markdown import table_line
from folds import cli
from folds.errors import UserError
from folds.model.mixture import open_bundle
from folds.model.predictor import Opened

_CELLS = 456  # of a table
Pixels = NDArray[np.uint8]
Drawn = Callable[[np.random.Generator, int, Pixels], NDArray]


def _noise(rng: np.random.Generator, side: int, _cell: Pixels) -> NDArray:
    return rng.integers(0, 256, (side, side, 3))


def _clouds(rng: np.random.Generator, side: int, _cell: Pixels) -> NDArray:
    smooth = gaussian_filter(rng.normal(size=(side, side, 3)), (side / 12, side / 12, 0))
    return 128 + 60 * smooth / smooth.std()


def _flat(rng: np.random.Generator, side: int, _cell: Pixels) -> NDArray:
    return rng.integers(0, 256, 3) + rng.normal(scale=3, size=(side, side, 3))


def _gradient(rng: np.random.Generator, side: int, _cell: Pixels) -> NDArray:
    ramp = np.linspace(0, 1, side)[:, None, None]
    image = rng.integers(0, 256, 3) * ramp + rng.integers(0, 256, 3) * (1 - ramp)
    return np.rot90(np.broadcast_to(image, (side, side, 3)), int(rng.integers(4)))


def _text(rng: np.random.Generator, side: int, _cell: Pixels) -> NDArray:
    page = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(page)
    for line in range(side // 12):
        letters = "".join(map(chr, rng.integers(97, 123, side // 6)))
        pen.text((2, 12 * line), letters, fill=(20, 20, 60))
    return np.asarray(page)


def _blank_slide(rng: np.random.Generator, side: int, _cell: Pixels) -> NDArray:
    return np.array([235, 215, 205]) + rng.normal(scale=4, size=(side, side, 3))


def _blobs(rng: np.random.Generator, side: int, _cell: Pixels) -> NDArray:
    page = Image.new("RGB", (side, side), (240, 215, 225))
    pen = ImageDraw.Draw(page)
    for _ in range(40):
        x, y, radius = *rng.uniform(0, side, 2), rng.uniform(2, side / 12)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(190, 110, 160))
    return np.asarray(page.filter(ImageFilter.GaussianBlur(1)))


def _stripes(rng: np.random.Generator, side: int, _cell: Pixels) -> NDArray:
    wave = 0.5 + 0.5 * np.sin(np.arange(side) * rng.uniform(0.2, 2))[:, None, None]
    image = rng.integers(0, 256, 3) * wave + rng.integers(0, 256, 3) * (1 - wave)
    return np.broadcast_to(image, (side, side, 3))


def _photograph(rng: np.random.Generator, side: int, _cell: Pixels) -> NDArray:
    whole = load_sample_images()["images"][rng.integers(2)]
    crop = int(rng.integers(side, 3 * side))
    top, left = (rng.integers(0, length - crop) for length in whole.shape[:2])
    square = Image.fromarray(whole[top : top + crop, left : left + crop])
    return np.asarray(square.resize((side, side)))


def _defocused(_rng: np.random.Generator, side: int, cell: Pixels) -> NDArray:
    return gaussian_filter(cell.astype(float), (side / 8, side / 8, 0))


def _half_black(_rng: np.random.Generator, side: int, cell: Pixels) -> NDArray:
    return np.where(np.arange(side)[:, None, None] < side // 2, 0, cell)


def _inverted(_rng: np.random.Generator, _side: int, cell: Pixels) -> NDArray:
    return 255 - cell


KINDS: dict[str, Drawn] = {
    "noise": _noise, "clouds": _clouds, "one colour": _flat, "gradient": _gradient, "text": _text,
    "blank slide": _blank_slide, "pink blobs": _blobs, "stripes": _stripes,
    "photograph": _photograph, "cell out of focus": _defocused, "cell half black": _half_black,
    "cell inverted": _inverted,
}  # fmt: skip


def junk(cells: Pixels, seed: int, each: int) -> dict[str, Pixels]:
    """So many pictures of each kind, (N, S, S, 3)."""
    rng, side = np.random.default_rng(seed), cells.shape[1]
    return {
        kind: np.stack(
            [
                draw(rng, side, cells[rng.integers(len(cells))]).clip(0, 255).astype(np.uint8)
                for _ in range(each)
            ]
        )
        for kind, draw in KINDS.items()
    }


def parser() -> argparse.ArgumentParser:
    """Make the command line."""
    made = place_parser("junk", __doc__)
    made.add_argument("--reject", type=float, default=0.01)
    made.add_argument("--adapt", nargs="+", default=["none", "colour+framing", "auto"])
    made.add_argument(
        "--tables", type=int, default=8, help="of each place, two of each kind in each"
    )
    return made


def main() -> None:
    """Print two tables."""
    options = parser().parse_args()
    predictor = open_bundle(options.model)
    found = places(predictor.card, options)
    drawn = junk(found["home"].pixels, 1, 2 * options.tables)
    print(f"share rejected (typicality below {options.reject:g}), %; 24 pictures of junk a table\n")
    print(table_line(["images of", "--adapt", "its cells", "junk", *drawn]))
    print("|---|---|" + "--:|" * (len(drawn) + 2))
    for name, place in found.items():
        for adapt in options.adapt:
            alarms, known = _rejected(predictor, place.pixels, drawn, adapt, options)
            shares = [alarms, known.mean(), *known]
            print(
                table_line([name, adapt, *(f"{100 * share:.1f}" for share in shares)]), flush=True
            )


def _rejected(
    predictor: Opened,
    cells: Pixels,
    drawn: dict[str, Pixels],
    adapt: str,
    options: argparse.Namespace,
) -> tuple[float, NDArray]:
    """Shares of cells, and of each kind of junk (K,), that are rejected; mean over tables."""
    alarms, found = [], []
    for number in range(options.tables):
        own = np.concatenate([each[2 * number : 2 * number + 2] for each in drawn.values()])
        rows = np.random.default_rng(number).permutation(len(cells))[:_CELLS]
        typicality = predictor.answer(np.concatenate([cells[rows], own]), adapt=adapt).typicality
        if typicality is None:
            raise UserError(f"--model {options.model}: does not know what typical images are")
        rejected = typicality < options.reject
        alarms.append(rejected[: len(rows)].mean())
        found.append(rejected[len(rows) :].reshape(len(drawn), 2).mean(axis=1))
    return float(np.mean(alarms)), np.mean(found, axis=0)


if __name__ == "__main__":
    sys.exit(cli.run(main))
