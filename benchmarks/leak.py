"""Show what near-duplicates do to cross-validation: ``python -m benchmarks.leak``.

A fifth of a set of images are changed copies of others. Plain stratified folds put many a copy
into training and its original into validation; folds that the audit has made do not. Each way's
out-of-fold accuracy is held against the accuracy of the same models on images of which they have
seen neither original nor copy.
"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from benchmarks.inputs import at_least
from folds import cli
from folds.augment import to_input
from folds.config import Config
from folds.images import ImageSet
from folds.model.backbone import build
from folds.prepare import Prepared, prepare
from folds.runtime.device import Runtime
from folds.training.fit import fit_fold
from folds.training.problem import Problem

SHARE = 0.2  # of the set that are copies
FOLDS = 5
STAGES = ["0:2:3e-3", "1:12:1e-3"]
_TURNS = 8


def parser() -> argparse.ArgumentParser:
    """Make the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.leak", description=(__doc__ or "").replace("``", "")
    )
    made.add_argument("--data", type=Path, required=True, help="folder of class folders")
    made.add_argument("--weights", type=Path, required=True, help="mobilenetv2_100.safetensors")
    made.add_argument("--images", type=int, default=300, help="images, copies among them")
    made.add_argument("--unseen", type=int, default=2000, help="images that nobody trains on")
    made.add_argument("--seeds", type=int, default=5, help="repetitions with other copies")
    made.add_argument("--scratch", type=Path, default=Path("leak.npz"), help="file to be written")
    return made


def main() -> None:
    """Print both ways' accuracy, seed by seed."""
    options = parser().parse_args()
    everything = at_least(options.images + options.unseen, options.data)
    print(f"{'':6}{'folds':24}{'out of fold':>12}{'unseen':>10}{'overstated':>12}")
    for seed in range(options.seeds):
        seen, unseen = _divided(everything, options, seed)
        np.savez(options.scratch, images=seen.pixels[:], labels=seen.labels)
        for audit, name in (("off", "plain stratified"), ("report", "copies kept together")):
            told, true = _measure(_prepared(options, audit, seed), unseen)
            line = f"seed {seed}{name:>23} {told:12.3f}{true:10.3f}{100 * (told - true):9.1f} pts"
            print(line, flush=True)
    options.scratch.unlink()


def _divided(
    everything: ImageSet, options: argparse.Namespace, seed: int
) -> tuple[ImageSet, ImageSet]:
    """Originals with their copies, and images that have neither."""
    originals = round(options.images * (1 - SHARE))
    chosen = everything.limited(originals + options.unseen, seed=seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(chosen))
    seen = order[:originals]
    again = rng.choice(seen, options.images - originals, replace=False)
    copies = np.stack([changed(image, rng) for image in chosen.pixels[again]])
    rows = np.concatenate([seen, again])
    ids = np.array([f"{number:06d}" for number in range(len(rows))])
    pixels = np.concatenate([chosen.pixels[seen], copies])
    together = ImageSet(pixels, chosen.labels[rows], chosen.class_names, ids, ids)
    return together, chosen.take(order[originals:])


def changed(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A copy in another brightness, turned or mirrored, and compressed anew."""
    turn = int(rng.integers(_TURNS))
    turned = np.rot90(image[::-1] if turn >= _TURNS // 2 else image, turn)
    picture = Image.fromarray(np.ascontiguousarray(turned))
    picture = ImageEnhance.Brightness(picture).enhance(float(rng.uniform(0.85, 1.1)))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=int(rng.integers(50, 95)))
    return np.asarray(Image.open(buffer))


def _prepared(options: argparse.Namespace, audit: str, seed: int) -> Prepared:
    return prepare(
        Config.from_flat(
            {
                "data": str(options.scratch),
                "audit": audit,
                "folds": FOLDS,
                "seed": seed,
                "backbone": "mobilenetv2_100",
                "weights": str(options.weights),
                "stages": STAGES,
                "batch_size": 32,
            }
        )
    )


def _measure(prepared: Prepared, unseen: ImageSet) -> tuple[float, float]:
    """Accuracy out of fold, and the folds' mean accuracy on unseen images.

    Of the last epoch: choosing an epoch flatters, too, and is not what is looked at here.
    """
    problem, runtime = prepared.problem, Runtime.choose("auto", "auto")
    right = 0.0
    true = []
    for repeat, fold in prepared.folds:
        last: list[bytes] = []
        result = fit_fold(problem, repeat, fold, runtime=runtime, on_checkpoint=last.append)
        right += result.history[-1].val_accuracy * len(result.rows)
        true.append(_accuracy(problem, last[-1], unseen))
    return right / len(problem.images), float(np.mean(true))


@torch.inference_mode()
def _accuracy(problem: Problem, checkpoint: bytes, unseen: ImageSet) -> float:
    model = build(
        problem.config.model.backbone,
        classes=len(unseen.class_names),
        size=problem.size,
        dropout=0.0,
        pretrained=None,
        seed=0,
    ).eval()
    model.load_state_dict(torch.load(io.BytesIO(checkpoint), weights_only=True)["model"])
    found = [
        model(to_input(torch.from_numpy(unseen.pixels[rows]), problem.size)).argmax(1).numpy()
        for rows in np.array_split(np.arange(len(unseen)), len(unseen) // 100 + 1)
    ]
    return float((np.concatenate(found) == unseen.labels).mean())


if __name__ == "__main__":
    sys.exit(cli.run(main))
