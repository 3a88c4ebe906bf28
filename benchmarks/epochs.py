"""What choosing an epoch does to a score: ``python -m benchmarks.epochs``.

Each rule of ``--choose-epoch`` cross-validates the same images. Its out-of-fold accuracy and
interval are held against the accuracy of the models that it keeps on other images, which chose
nothing; crossfit keeps what best keeps. Last columns: means over the folds of what two other
rules would show.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

from benchmarks.inputs import at_least
from folds import cli
from folds.images import ImageSet
from tracking.summary import Summary
from tracking.summary_file import read_summary

RULES = ("last", "best", "crossfit")


def parser() -> argparse.ArgumentParser:
    """Make the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.epochs", description=(__doc__ or "").replace("``", "")
    )
    made.add_argument("--data", type=Path, required=True, help="folder of class folders")
    made.add_argument("--weights", type=Path, required=True, help="mobilenetv2_100.safetensors")
    made.add_argument("--images", type=int, default=2000, help="images that are cross-validated")
    made.add_argument("--others", type=int, default=1000, help="images that nobody trains on")
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of images and runs")
    made.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    made.add_argument("--out", type=Path, default=Path("epochs"), help="folder of the runs")
    return made


def main() -> None:
    """Print each rule's accuracy and its interval beside that on other images."""
    options = parser().parse_args()
    everything = at_least(options.images + options.others, options.data)
    options.out.mkdir(parents=True, exist_ok=True)
    heads = ("rule", 10), ("out of fold", 13), ("95% interval", 19), ("others", 8), ("held", 6)
    print(" " * 6 + "".join(f"{head:>{width}}" for head, width in heads) + "    best  crossfit")
    for seed in options.seeds:
        tables = _tables(everything, options, seed)
        for rule in options.rules:
            print(_line(seed, rule, _run(options, tables, seed, rule)), flush=True)


def _tables(everything: ImageSet, options: argparse.Namespace, seed: int) -> tuple[Path, Path]:
    """Two stratified tables of images, without one in both."""
    chosen = everything.limited(options.images + options.others, seed=seed)
    others = set(chosen.limited(options.others, seed=seed + 1).ids)
    paths = options.out / f"images-{seed}.csv", options.out / f"others-{seed}.csv"
    for path, inside in zip(paths, (False, True), strict=True):
        with path.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(("path", "label"))
            for name, label in zip(chosen.ids, chosen.labels, strict=True):
                if (name in others) == inside:
                    table.writerow(((options.data / name).resolve(), chosen.class_names[label]))
    return paths


def _run(options: argparse.Namespace, tables: tuple[Path, Path], seed: int, rule: str) -> Summary:
    out = options.out / f"{rule}-{seed}"
    command = [sys.executable, "-m", "distributed.cv", "--data", str(tables[0])]
    command += ["--external", f"others={tables[1]}", "--choose-epoch", rule, "--seed", str(seed)]
    command += ["--select-by", "accuracy"]  # as what is told
    command += ["--backbone", "mobilenetv2_100", "--weights", str(options.weights)]
    command += ["--stages", "0:3:3e-3", "1:5:1e-3", "--batch-size", "64", "--shift", "off"]
    command += ["--output", str(out), "--tracking-uri", f"sqlite:///{options.out / 'mlflow.db'}"]
    with (options.out / f"{rule}-{seed}.log").open("w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
    return read_summary(out / "summary.json")


def _line(seed: int, rule: str, summary: Summary) -> str:
    told = summary.oof_intervals["accuracy"]
    low, high = told.low or 0.0, told.high or 0.0
    measured = [fold.measured["external.others.accuracy"] or 0.0 for fold in summary.folds]
    true = sum(measured) / len(measured)
    held = "yes" if low <= true <= high else "no"
    words = f"{low:.4f} to {high:.4f}{true:8.4f}{held:>6}"
    chosen = f"{summary.epoch_choice.best:8.4f}{summary.epoch_choice.crossfit or 0.0:10.4f}"
    return f"seed {seed}{rule:>10}{summary.oof.accuracy:13.4f}   {words}{chosen}"


if __name__ == "__main__":
    sys.exit(cli.run(main))
