"""Adapt a model to tables that are easy and to tables that are not, and count what it gets right.

Run: python -m benchmarks.adapting --model kept/strong --data images/ --trained-on 2000
     --external lab2=other/

``--model`` is a bundle, as `benchmarks.robust --keep` leaves them. Batch norm and class shares that
are taken from a table go wrong where it is small or nearly all of one class: such tables are drawn
here from images that the model was not trained on, its own laboratory's and another's.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.inputs import Place, place_parser, places
from benchmarks.markdown import table_line
from folds import cli
from folds.arrays import Ints
from folds.model.mixture import open_bundle
from folds.model.predictor import Opened

_WHOLE = 400  # images of a table
_RARE = 10  # of other classes, beside nine times as many of one

Drawn = Callable[[np.random.Generator, Ints], NDArray]  # rows of a table, by all labels


def _whole(rng: np.random.Generator, labels: Ints) -> NDArray:
    return rng.permutation(len(labels))[:_WHOLE]


def _forty(rng: np.random.Generator, labels: Ints) -> NDArray:
    return rng.permutation(len(labels))[:40]


def _sixteen(rng: np.random.Generator, labels: Ints) -> NDArray:
    return rng.permutation(len(labels))[:16]


def _skewed(rng: np.random.Generator, labels: Ints) -> NDArray:
    """Nine in ten of one class."""
    one = rng.choice(np.unique(labels))
    own, others = (rng.permutation(np.flatnonzero(mask)) for mask in (labels == one, labels != one))
    count = min(_RARE, len(own) // 9)
    return np.concatenate([own[: 9 * count], others[:count]])


def _two(rng: np.random.Generator, labels: Ints) -> NDArray:
    """Of two classes alone, which are as frequent."""
    pair = rng.choice(np.unique(labels), 2, replace=False)
    return np.concatenate([rng.permutation(np.flatnonzero(labels == one))[:50] for one in pair])


def _one(rng: np.random.Generator, labels: Ints) -> NDArray:
    one = rng.choice(np.unique(labels))
    return rng.permutation(np.flatnonzero(labels == one))[:100]


TABLES: dict[str, Drawn] = {
    "400 images": _whole, "40 images": _forty, "16 images": _sixteen,
    "nine in ten of one class": _skewed, "two classes": _two, "one class": _one,
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """Make the command line."""
    made = place_parser("adapting", __doc__)
    made.add_argument("--adapt", nargs="+", default=["none", "colour+framing", "bn", "auto"])
    made.add_argument("--tables", type=int, default=8, help="of each kind")
    return made


def main() -> None:
    """Print accuracies, their spread over tables, and how many tables were not adapted to."""
    options = parser().parse_args()
    predictor = open_bundle(options.model)
    found = places(predictor.card, options)
    print(f"accuracy, %: median of {options.tables} tables (least to most); refused: how many")
    print("tables did not get all that was asked for\n")
    print(table_line(["images of", "table", *options.adapt, "refused"]))
    print("|---|---|" + "--:|" * (len(options.adapt) + 1))
    for name, place in found.items():
        for kind, draw in TABLES.items():
            tables = [
                draw(np.random.default_rng(number), place.labels)
                for number in range(options.tables)
            ]
            each = [_accuracies(predictor, place, tables, adapt) for adapt in options.adapt]
            refused = " ".join(str(told) for _, told in each)
            cells = [_spread(accuracies) for accuracies, _ in each]
            print(table_line([name, kind, *cells, refused]), flush=True)


def _accuracies(
    predictor: Opened, place: Place, tables: Sequence[NDArray], adapt: str
) -> tuple[NDArray, int]:
    """Share (T,) of each table's images that is right; how many tables something was refused."""
    told: list[str] = []
    found = []
    for rows in tables:
        probabilities = predictor.predict(place.pixels[rows], adapt=adapt, tell=told.append)
        found.append((probabilities.argmax(axis=1) == place.labels[rows]).mean())
    return np.array(found), len(told)


def _spread(values: NDArray) -> str:
    low, middle, high = 100 * np.quantile(values, [0, 0.5, 1])
    return f"{middle:.1f} ({low:.0f} to {high:.0f})"


if __name__ == "__main__":
    sys.exit(cli.run(main))
