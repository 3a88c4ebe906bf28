"""MedMNIST by the protocol of the public table: accuracy and AUC on the official test part.

Run: python -m benchmarks.medmnist --sets bloodmnist --sizes 28 64 128 224 --seeds 0 1 2
     --backbone resnet18 --keep scores/ --out MEDMNIST.md

For each set, size and seed the folds are trained on the official training and validation parts
together, and their ensemble predicts the official test part once. A fold's model trains on fewer
images than the published ones, and the ensemble is several networks: so the mean of the folds'
models stands beside it. AUC is the mean over classes of one against the rest, as MedMNIST has it.
The images must be there, or the package medmnist and a network, see docs/how-to/medmnist.md.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from benchmarks.inputs import settings_of
from benchmarks.markdown import table_line
from folds import cli
from folds.config import Config
from folds.errors import UserError
from folds.evaluation.metrics import scores
from folds.images.medmnist import CLASSES, SIZES
from folds.prepare import prepare
from folds.runtime.device import Runtime
from folds.training.fit import fit_fold

_MEASURES = ("accuracy", "roc_auc")


@dataclass(frozen=True)
class Published:
    """A figure of others.

    Parameters
    ----------
    model : str
    size : int
        Side of its images in pixels.
    accuracy : float
    roc_auc : float, optional
        Where it is published.
    """

    model: str
    size: int
    accuracy: float
    roc_auc: float | None = None


# 28 px: Yang et al., Scientific Data 10, 2023; 224 px: as reported for MedMNIST+, whose table was
# not at hand: look it up before quoting it
PUBLISHED: dict[str, tuple[Published, ...]] = {
    "bloodmnist": (
        Published("ResNet-18", 28, 0.958, 0.998),
        Published("AutoML, the best of three", 28, 0.966),
        Published("DenseNet-121", 224, 0.9902),
    )
}


@dataclass(frozen=True)
class Row:
    """Scores on a test part, of one size and seed.

    Parameters
    ----------
    oof : dict of str to float
        Out of fold, which is all that a user without a test part would know.
    ensemble : dict of str to float
    single : dict of str to float
        Mean of the folds' models.
    """

    oof: dict[str, float]
    ensemble: dict[str, float]
    single: dict[str, float]


Key = tuple[str, int, int]  # set, size, seed


def parser() -> argparse.ArgumentParser:
    """Make the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.medmnist", description=(__doc__ or "").splitlines()[0]
    )
    made.add_argument("--sets", nargs="+", default=["bloodmnist"], choices=sorted(CLASSES))
    made.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), choices=SIZES)
    made.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    made.add_argument("--backbone", default="resnet18")
    made.add_argument("--weights", default="auto", help="as for crossfold cv")
    made.add_argument("--folds", type=int, default=5)
    made.add_argument("--stages", nargs="+", default=["0:2:1e-3", "1:18:5e-4"])
    made.add_argument("--batch-size", type=int, default=128)
    made.add_argument("--augment", default="light")
    made.add_argument(
        "--settings", nargs="+", default=[], metavar="NAME=VALUE", help="others, by flag name"
    )
    made.add_argument("--keep", type=Path, help="folder for scores; known ones are not made again")
    made.add_argument("--out", type=Path, help="markdown file to write, anew after each of them")
    return made


def main() -> None:
    """Train, score, print a table and write it."""
    options = parser().parse_args()
    rows: dict[Key, Row] = {}
    for key in product(options.sets, options.sizes, options.seeds):
        rows[key] = row = _measured(options, key)
        said = ", ".join(f"{name} {row.ensemble[name]:.4f}" for name in _MEASURES)
        print(f"{key[0]} {key[1]} px, seed {key[2]}: {said}", file=sys.stderr, flush=True)
        if options.out is not None:
            options.out.write_text(table(rows, options.backbone) + "\n", encoding="utf-8")
    print(table(rows, options.backbone))


def table(rows: dict[Key, Row], backbone: str) -> str:
    """Mean and standard deviation over seeds as markdown, a table a set, beside others."""
    lines = []
    for name in dict.fromkeys(key[0] for key in rows):
        lines += [
            f"**{name}**",
            "",
            table_line(["test part", "px", "seeds", "ACC", "AUC", "out of fold"]),
        ]
        lines.append("|---|--:|--:|--:|--:|--:|")
        for size in sorted({key[1] for key in rows if key[0] == name}):
            own = [row for key, row in rows.items() if key[:2] == (name, size)]
            lines += _own(own, size, backbone)
        lines += map(_published, PUBLISHED.get(name, ()))
        lines.append("")
    return "\n".join(lines).rstrip()


def _own(rows: Sequence[Row], size: int, backbone: str) -> Iterable[str]:
    kinds = {
        f"{backbone}, ensemble of the folds": [row.ensemble for row in rows],
        f"{backbone}, one fold's model": [row.single for row in rows],
    }
    oof = _spread([row.oof["accuracy"] for row in rows])
    for what, found in kinds.items():
        cells = [_spread([one[measure] for one in found]) for measure in _MEASURES]
        yield table_line([what, str(size), str(len(rows)), *cells, oof])


def _published(one: Published) -> str:
    auc = "" if one.roc_auc is None else f"{one.roc_auc:.3f}"
    return table_line(
        [f"{one.model} (published)", str(one.size), "", f"{one.accuracy:.4g}", auc, ""]
    )


def _spread(values: Sequence[float]) -> str:
    """A mean, with the standard deviation of several."""
    mean = f"{np.mean(values):.4f}"
    return mean if len(values) < 2 else f"{mean} ± {np.std(values, ddof=1):.4f}"


def _settings(options: argparse.Namespace, key: Key) -> dict[str, Any]:
    """Settings by flag name."""
    name, size, seed = key
    return {
        "data": f"{name}:{size}",
        "seed": seed,
        "shift": "off",
        "image_size": max(size, 32),
        **{
            name: getattr(options, name)
            for name in ("backbone", "weights", "folds", "stages", "batch_size", "augment")
        },
        **settings_of(options.settings),
    }


def _measured(options: argparse.Namespace, key: Key) -> Row:
    """Scores of a set, size and seed; those that are kept are taken."""
    config = Config.from_flat(_settings(options, key))
    kept = None if options.keep is None else options.keep / f"{'-'.join(map(str, key))}.json"
    if kept is not None and kept.exists():
        about, row = TypeAdapter(tuple[str, Row]).validate_json(kept.read_bytes())
        if about != config.digest:
            raise UserError(f"--keep {options.keep}: {kept.name} is of other settings; remove it")
        return row
    row = _scored(config)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(TypeAdapter(tuple[str, Row]).dump_json((config.digest, row)))
    return row


def _scored(config: Config) -> Row:
    """Train the folds and score the test part once."""
    prepared, runtime = prepare(config), Runtime.choose("auto", config.train.precision)
    results = [fit_fold(prepared.problem, *task, runtime=runtime) for task in prepared.folds]
    (test,) = prepared.problem.externals
    found = [result.external[test.name] for result in results]
    each = [scores(test.images.labels, one, _MEASURES) for one in found]
    rows = np.concatenate([result.rows for result in results])
    pooled = np.concatenate([result.probabilities for result in results])
    return Row(
        scores(prepared.problem.images.labels[rows], pooled, _MEASURES),
        scores(test.images.labels, np.mean(found, axis=0), _MEASURES),
        {name: float(np.mean([one[name] for one in each])) for name in _MEASURES},
    )


if __name__ == "__main__":
    sys.exit(cli.run(main))
