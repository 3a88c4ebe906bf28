"""``python -m tracking.predict``: classify images with a registered model."""

import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import folds.early  # noqa: F401  (first: what follows takes a second)
from folds.cli import parse, run, tell
from folds.config.adaptation import refuse_adapt
from folds.errors import UserError
from folds.files import check_file, output_file

if TYPE_CHECKING:
    from pandas import DataFrame

    from folds.arrays import Doubles
    from folds.evaluation.selective import Point
    from folds.model.decision import Decision
    from folds.model.predictor import Answers


@dataclass
class Options:
    """Which model, which images, which file."""

    data: str
    """Images: an .npz file, a .csv or .parquet table with a column path, a folder with image files
    at any depth or of the Hugging Face hub, a part of MedMNIST as bloodmnist/test, 'demo',
    'demo-lab2' or 'digits'."""
    model: str = "models:/crossfold@champion"
    """Model: models:/NAME@ALIAS, models:/NAME/VERSION or models:/ID."""
    out: Path = Path("predictions.csv")
    """CSV file to write: id, predicted_class, the probability of each class, prediction_set: the
    classes, between semicolons, that the true one is among as often as --coverage said, and
    typicality: how often an image like training's is as unlike them (0 to 1)."""
    adapt: str | None = None
    """Where the images are unlike training's: none, auto, or some of colour, framing, bn, prior,
    joined by +, see --adapt of distributed.cv; default: as the model was trained to."""
    abstain: float | None = None
    """Accuracy wanted of what is answered, as 0.99: images of which the model is not sure enough
    have an empty predicted_class."""
    reject: float | None = None
    """Typicality from which on images are answered, as 0.01: those below it are like none of the
    classes (junk, another kind of object) and have an empty predicted_class. At most so many of the
    images that are like training's are lost."""
    costs: Path | None = None
    """YAML file of what mistakes cost, {true class: {predicted class: cost}}, 1 where it says
    nothing: predicted_class is then the class of least expected cost."""
    skip_broken: bool = False
    """Leave out image files that cannot be read."""
    tracking_uri: str | None = None
    """MLflow store; default: MLFLOW_TRACKING_URI, or sqlite:///mlflow.db here."""


def main() -> None:
    """Write a line an image."""
    options = parse(Options, sys.argv[1:], prog="python -m tracking.predict", description=__doc__)
    check_file("--out", options.out)
    _check(options)
    from folds.images import load_unlabelled
    from folds.images.source import root_of
    from folds.runtime.cpu import keep_memory
    from tracking import store
    from tracking.models import load_model

    keep_memory()
    store.connect(options.tracking_uri)
    model, card = load_model(options.model)
    chosen = _chosen(options, model.decision, tuple(card["class_names"]))
    if options.reject is not None and not model.knows_typicality:
        raise UserError(
            f"--reject {options.reject:g}: {options.model} does not know what typical images are; "
            "it takes a best-fold or an ensemble whose folds had 100 validation images or more"
        )
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
        found = model.answer(asked, adapt=options.adapt, tell=_notice)
    except ValueError as error:
        raise UserError(str(error)) from None
    table = chosen.table(model.table(found), found)
    with (
        output_file(options.out) as scratch,
        scratch.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["id", *table.columns])
        for name, row in zip(images.ids, table.itertuples(index=False, name=None), strict=True):
            writer.writerow([name, *(f"{v:.6f}" if isinstance(v, float) else v for v in row)])
    print(f"{len(images.ids)} predictions of {options.model} are in {options.out}")
    if chosen.point is not None:
        empty = int((table.iloc[:, 0] == "").sum())
        print(f"abstained from {empty} of {len(table)}: {_promise(chosen.point)}")
    if chosen.reject is not None:
        unlike = sum(chosen.rejected(found))
        print(
            f"none of these: {unlike} of {len(table)} are unlike all that was trained on "
            f"(typicality below {chosen.reject:g})"
        )


def _check(options: Options) -> None:
    refuse_adapt(options.adapt)
    if options.abstain is not None and not 0 < options.abstain < 1:
        raise UserError(f"--abstain {options.abstain}: must be between 0 and 1, as 0.99")
    if options.reject is not None and not 0 < options.reject < 1:
        raise UserError(f"--reject {options.reject}: must be between 0 and 1, as 0.01")
    if options.abstain is not None and options.costs is not None:
        raise UserError(
            "--abstain and --costs: the accuracy of answers by other costs than the model's is not "
            "known; give one of the two"
        )


@dataclass
class _Chosen:
    """How answers are chosen here, beside what the model itself decides.

    Parameters
    ----------
    costs : ndarray of float64, shape (C, C), optional
        Instead of the model's own.
    point : Point, optional
        From which confidence on images are answered.
    reject : float, optional
        From which typicality on they are.
    """

    costs: "Doubles | None" = None
    point: "Point | None" = None
    reject: float | None = None

    def table(self, table: "DataFrame", found: "Answers") -> "DataFrame":
        """A model's table with these answers."""
        rows = found.probabilities
        names, answers = table.columns[1 : rows.shape[1] + 1], table.iloc[:, 0].to_list()
        if self.costs is not None:
            from folds.evaluation.costs import least_cost

            answers = [names[number] for number in least_cost(rows, self.costs)]
        if self.point is not None:
            number = {name: place for place, name in enumerate(names)}
            confidence = [row[number[name]] for row, name in zip(rows, answers, strict=True)]
            sure = [value >= self.point.threshold for value in confidence]
            answers = [name if kept else "" for name, kept in zip(answers, sure, strict=True)]
        pairs = zip(answers, self.rejected(found), strict=True)
        table.isetitem(0, ["" if rejected else name for name, rejected in pairs])
        return table

    def rejected(self, found: "Answers") -> list[bool]:
        """Which images (N,) are like none of the classes."""
        if found.typicality is None or self.reject is None:
            return [False] * len(found.probabilities)
        return [value < self.reject for value in found.typicality.tolist()]


def _chosen(options: Options, decision: "Decision | None", names: tuple[str, ...]) -> _Chosen:
    from folds.config.costs import canonical
    from folds.evaluation.costs import cost_matrix
    from folds.evaluation.selective import sure_enough

    if options.costs is not None:
        try:
            costs = cost_matrix(canonical(str(options.costs)), names)
            return _Chosen(costs=costs, reject=options.reject)
        except ValueError as error:
            raise UserError(f"--costs {options.costs}: {error}") from None
    if options.abstain is None:
        return _Chosen(reject=options.reject)
    if decision is None or not decision.curve:
        raise UserError(
            f"--abstain {options.abstain}: {options.model} does not know how often it is right; "
            "train and register it with this version of crossfold"
        )
    point = sure_enough(decision.curve, options.abstain)
    if point is None:
        best = max(decision.curve, key=lambda point: point.low)
        raise UserError(
            f"--abstain {options.abstain}: no threshold is sure to reach it, the best is "
            f"{_promise(best)}; ask for {int(best.low * 1000) / 1000:g} or less, or train on more "
            "images"
        )
    return _Chosen(point=point, reject=options.reject)


def _promise(point: "Point") -> str:
    return (
        f"{point.accuracy:.3f} right (at least {point.low:.3f}) of images like training's where "
        f"{point.answered:.0%} are answered, those of probability {point.threshold:.3f} or more"
    )


def _notice(line: str) -> None:
    tell(f"notice: {line}")


if __name__ == "__main__":
    sys.exit(run(main))
