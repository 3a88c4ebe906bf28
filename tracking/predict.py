"""``python -m tracking.predict``: classify images with a registered model."""

import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import folds.early  # noqa: F401  (first: what follows takes a second)
from folds.cli import parse, run, tell
from folds.config.adaptation import check_adapt
from folds.errors import UserError
from folds.files import check_folder, output_file


@dataclass
class Options:
    """Which model, which images, which file."""

    data: str
    """Images: an .npz file, a .csv or .parquet table with a column path, a folder with image files
    at any depth, 'demo', 'demo-lab2' or 'digits'."""
    model: str = "models:/crossfold@champion"
    """Model: models:/NAME@ALIAS, models:/NAME/VERSION or models:/ID."""
    out: Path = Path("predictions.csv")
    """CSV file to write: id, predicted_class, then the probability of each class."""
    adapt: str | None = None
    """Where the images are unlike training's: none, auto, or some of colour, framing, bn, prior,
    joined by +, see --adapt of distributed.cv; default: as the model was trained to."""
    skip_broken: bool = False
    """Leave out image files that cannot be read."""
    tracking_uri: str | None = None
    """MLflow store; default: MLFLOW_TRACKING_URI, or sqlite:///mlflow.db here."""


def main() -> None:
    """Write a line an image."""
    options = parse(Options, sys.argv[1:], prog="python -m tracking.predict", description=__doc__)
    if not options.out.resolve().parent.is_dir():
        raise UserError(f"--out {options.out}: no folder {options.out.resolve().parent}; make it")
    check_folder(f"--out {options.out}", options.out.absolute().parent)
    if options.adapt is not None:
        _check_adapt(options.adapt)
    from folds.images import load_unlabelled
    from folds.images.source import root_of
    from folds.runtime.cpu import keep_memory
    from tracking import store
    from tracking.models import load_model, probabilities

    keep_memory()
    store.connect(options.tracking_uri)
    model, card = load_model(options.model)
    images = load_unlabelled(
        options.data,
        size=card["size"],
        levels=card.get("levels"),
        skip_broken=options.skip_broken,
    )
    for notice in images.notices:
        tell(f"notice: {notice}")
    asked: Any = images.pixels
    if len(card.get("inputs", ())) > 1 and (root := root_of(options.data)) is not None:
        # runs of different sizes: each decodes the files to its own, as its training did
        asked = {"path": [str(root / name) for name in images.ids.tolist()]}
    try:
        rows = probabilities(model.predict(asked, adapt=options.adapt, tell=_notice))
    except ValueError as error:
        raise UserError(str(error)) from None
    classes = card["class_names"]
    with (
        output_file(options.out) as scratch,
        scratch.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["id", "predicted_class", *classes])
        for name, row in zip(images.ids, rows, strict=True):
            writer.writerow([name, classes[row.argmax()], *(f"{p:.6f}" for p in row)])
    print(f"{len(images.ids)} predictions of {options.model} are in {options.out}")


def _check_adapt(adapt: str) -> None:
    try:
        check_adapt(adapt)
    except ValueError as error:
        raise UserError(f"--adapt {adapt}: {error}") from None


def _notice(line: str) -> None:
    tell(f"notice: {line}")


if __name__ == "__main__":
    sys.exit(run(main))
