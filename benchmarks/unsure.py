"""How prediction sets and thresholds for abstention keep their promise on images never seen.

Run: python -m benchmarks.unsure --data images/ --weights mobilenetv2_100.safetensors

Linear models on the features of a frozen backbone stand for networks, so that 20 divisions of the
images take minutes. In each, folds of some images give the thresholds, as in a run, and all others
tell how they hold: for the model of one fold, for the ensemble, and for the ensemble with
thresholds that a hold-out of its own gave.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from folds import cli
from folds.arrays import Bools, Doubles, Floats, Ints
from folds.config import Config
from folds.evaluation.calibration import out_of_fold_temperature, served
from folds.evaluation.conformal import set_thresholds
from folds.evaluation.selective import risk_coverage, sure_enough
from folds.model.backbone import build
from folds.prepare import Prepared, prepare

_HOLDOUT = 300


@dataclass(frozen=True)
class Held:
    """How a division's promises held on images that were in none of its parts.

    Parameters
    ----------
    accuracy, coverage, worst, size, empty : float
        Of the model; of its sets, of all images and of the class that is held least; classes a set;
        share of empty sets.
    promised, kept : float
        Lower bound of the accuracy of what is answered, and the accuracy; NaN where no threshold
        was found.
    """

    accuracy: float
    coverage: float
    worst: float
    size: float
    empty: float
    promised: float
    kept: float


def parser() -> argparse.ArgumentParser:
    """Make the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.unsure", description=(__doc__ or "").splitlines()[0]
    )
    made.add_argument("--data", required=True, help="images, as for distributed.cv")
    made.add_argument("--weights", default="auto", help="as for distributed.cv")
    made.add_argument("--backbone", default="mobilenetv2_100")
    made.add_argument("--images", type=int, default=5000, help="a stratified subset of so many")
    made.add_argument("--train", type=int, default=1000, help="of them in the folds")
    made.add_argument("--folds", type=int, default=5)
    made.add_argument("--splits", type=int, default=20, help="divisions")
    made.add_argument("--coverage", type=float, default=0.9)
    made.add_argument("--abstain", type=float, default=0.9, help="accuracy wanted of answers")
    return made


def main() -> None:
    """Divide, measure and print a table."""
    options = parser().parse_args()
    given = {"data": options.data, "limit": options.images, "audit": "off"}
    given |= {"backbone": options.backbone, "weights": options.weights}
    prepared = prepare(Config.from_flat(given))
    features, labels = _features(prepared), prepared.problem.images.labels
    found: dict[str, list[Held]] = {}
    for seed in range(options.splits):
        for name, held in _division(features, labels, seed, options):
            found.setdefault(name, []).append(held)
        print(f"division {seed + 1} of {options.splits}", file=sys.stderr, flush=True)
    print(table(found))


def table(found: dict[str, list[Held]]) -> str:
    """Means over the divisions as a markdown table, a row for each model."""
    lines = [
        "| model | accuracy | coverage (least to most) | of the worst class | classes a set "
        "| empty | bounds of answers broken |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, each in found.items():
        accuracy, coverage, worst, size, empty, promised, kept = np.transpose(
            [list(vars(one).values()) for one in each]
        )
        there = np.isfinite(promised)
        cells = [
            f"{accuracy.mean():.3f}",
            f"{coverage.mean():.3f} ({coverage.min():.3f} to {coverage.max():.3f})",
            f"{worst.mean():.3f}", f"{size.mean():.2f}", f"{empty.mean():.3f}",
            f"{(kept < promised).sum()} of {there.sum()}",
        ]  # fmt: skip
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


@torch.inference_mode()
def _features(prepared: Prepared) -> Floats:
    """Pooled features (N, F) of all images by the backbone as it was pretrained."""
    problem = prepared.problem
    names = problem.images.class_names
    network = build(
        problem.backbone, classes=len(names), size=problem.size, dropout=0.0,
        pretrained=problem.pretrained, seed=0,
    ).eval()  # fmt: skip
    parts = []
    for first in range(0, len(problem.images), 128):
        pixels = torch.from_numpy(np.asarray(problem.images.pixels[first : first + 128]))
        images = pixels.permute(0, 3, 1, 2).float() / 255
        parts.append(network(images, with_features=True)[1].numpy())
    return np.concatenate(parts)


def _division(
    features: Floats, labels: Ints, seed: int, options: argparse.Namespace
) -> Iterator[tuple[str, Held]]:
    """Train the folds of some images, and see how each model's promises hold on the others."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    own, aside = order[: options.train], order[options.train : options.train + _HOLDOUT]
    new, fold = order[options.train + _HOLDOUT :], np.arange(options.train) % options.folds
    known = np.zeros((len(own), labels.max() + 1))
    members = []
    for number in range(options.folds):
        mine = fold == number
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3)
        model.fit(features[own[~mine]], labels[own[~mine]])
        known[mine] = model.predict_proba(features[own[mine]])
        members.append(model.predict_proba(features[np.concatenate([aside, new])]))
    ids = np.arange(len(own))
    calibrated, temperature = out_of_fold_temperature(labels[own], [known], fold, ids)
    first, every = (served(some, temperature) for some in (members[:1], members))
    rest = len(aside)
    yield "one fold's", _held(labels, own, calibrated, new, first[rest:], options)
    yield "ensemble", _held(labels, own, calibrated, new, every[rest:], options)
    yield (
        f"ensemble, by {rest} of a hold-out",
        _held(labels, aside, every[:rest], new, every[rest:], options),
    )


def _held(
    labels: Ints, seen: Ints, known: Floats, new: Ints, answers: Floats, options: argparse.Namespace
) -> Held:
    """How thresholds by predictions of some images hold for the answers for others."""
    ids, true = np.arange(len(seen)), labels[new]
    sets = set_thresholds(labels[seen], known, ids, options.coverage).sets(answers)
    held: Bools = sets[np.arange(len(new)), true]
    right: Bools = answers.argmax(axis=1) == true
    points = risk_coverage(known.argmax(axis=1) == labels[seen], known.max(axis=1), ids)
    point = sure_enough(points, options.abstain)
    sure = answers.max(axis=1) >= (2.0 if point is None else point.threshold)
    by_class: Doubles = np.bincount(true, held) / np.bincount(true)
    return Held(
        accuracy=float(right.mean()),
        coverage=float(held.mean()),
        worst=float(by_class.min()),
        size=float(sets.sum(axis=1).mean()),
        empty=float((sets.sum(axis=1) == 0).mean()),
        promised=np.nan if point is None else point.low,
        kept=float(right[sure].mean()) if sure.any() else np.nan,
    )


if __name__ == "__main__":
    sys.exit(cli.run(main))
