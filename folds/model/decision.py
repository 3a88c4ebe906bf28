"""What a model answers where it is unsure: ``decision.json``, a file of a bundle.

A bundle without one answers the most probable class and tells probabilities alone.
"""

import csv
import io
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from folds.arrays import AnyFloats, Bools, Doubles, Floats, Ints
from folds.documents import read_json_file
from folds.errors import listed
from folds.evaluation.conformal import SetThresholds, set_thresholds
from folds.evaluation.costs import least_cost
from folds.evaluation.selective import Point, risk_coverage

FILE, FORMAT = "decision.json", "crossfold-decision/1"
Evidence = Literal["out-of-fold", "holdout"]


@dataclass(frozen=True)
class Decision:
    """How a model decides.

    Parameters
    ----------
    class_names : tuple of str
        C of them, as those of the model.
    evidence : {"out-of-fold", "holdout"}
        Which predictions the rest was chosen by.
    coverage : float
        How often prediction sets shall hold the true class, 0 to 1.
    thresholds : tuple of float
        From which probability on each class is in a set, see `SetThresholds`.
    marginal : tuple of bool
        Classes that have the threshold of all images.
    curve : tuple of Point
        Of the answers, see `folds.evaluation.selective.risk_coverage`.
    costs : tuple of tuple of float, optional
        (C, C), rows being true classes: what is answered is the class of least expected cost.

    Raises
    ------
    ValueError
        The numbers do not go with the classes, or are none that can be.
    """

    class_names: tuple[str, ...]
    evidence: Evidence
    coverage: float
    thresholds: tuple[float, ...]
    marginal: tuple[bool, ...]
    curve: tuple[Point, ...]
    costs: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self) -> None:
        count = len(self.class_names)
        rows = self.costs if self.costs is not None else (self.class_names,) * count
        if {len(self.thresholds), len(self.marginal), len(rows), *map(len, rows)} != {count}:
            raise ValueError(f"thresholds or costs are not of {count} classes")
        shares = [self.coverage, *self.thresholds]
        shares += [value for point in self.curve for value in vars(point).values()]
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError("a share or a threshold is not from 0 to 1")
        if not all(0 <= cost < np.inf for row in self.costs or () for cost in row):
            raise ValueError("a cost is below 0, or no number")

    def sets(self, probabilities: AnyFloats) -> Bools:
        """Which classes are in the prediction sets (N, C) of images."""
        thresholds = SetThresholds(np.array(self.thresholds), np.array(self.marginal))
        return thresholds.sets(probabilities)

    @property
    def cost_matrix(self) -> Doubles | None:
        """The costs as an array (C, C)."""
        return None if self.costs is None else np.array(self.costs)

    @classmethod
    def read(cls, folder: Path, class_names: tuple[str, ...]) -> Self | None:
        """Read that of a bundle of these classes, if it has one.

        Raises
        ------
        ValueError
            It is damaged, or of other classes.
        """
        path = folder / FILE
        if not path.exists():
            return None
        content = read_json_file(path)
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise ValueError(f"{FILE}: is not of format {FORMAT}")
        if unknown := content.keys() - {field.name for field in fields(cls)}:
            raise ValueError(f"{FILE}: {listed(sorted(unknown))} is nothing that a decision has")
        try:
            decision = TypeAdapter(cls).validate_python(content)
        except ValidationError as error:
            first = error.errors()[0]
            words = [*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")]
            raise ValueError(f"{FILE}: {': '.join(words)}") from None
        if decision.class_names != class_names:
            raise ValueError(f"{FILE}: is of other classes than the model")
        return decision

    def write(self, folder: Path) -> None:
        """Write it as a file of a bundle."""
        content = json.dumps({"format": FORMAT, **asdict(self)}, indent=2)
        (folder / FILE).write_text(content + "\n", encoding="utf-8")


def decision_of(
    class_names: tuple[str, ...],
    labels: Ints,
    probabilities: AnyFloats,
    groups: NDArray,
    *,
    coverage: float,
    costs: Doubles | None,
    evidence: Evidence,
) -> Decision:
    """Choose how a model decides, by its answers for images that it had not seen.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
    probabilities : ndarray of float, shape (N, C)
        Tempered, as the model will answer.
    groups : ndarray of str or int, shape (N,)
    """
    chosen = set_thresholds(labels, probabilities, groups, coverage)
    answers = least_cost(probabilities, costs)
    return Decision(
        class_names,
        evidence,
        coverage,
        tuple(chosen.probabilities.tolist()),
        tuple(chosen.marginal.tolist()),
        risk_coverage(answers == labels, confidence_of(answers, probabilities), groups),
        None if costs is None else tuple(map(tuple, costs.tolist())),
    )


def confidence_of(answers: Ints, probabilities: AnyFloats) -> Floats:
    """Probability (N,) of each answer."""
    return probabilities[np.arange(len(answers)), answers].astype(np.float32)


def joined(names: list[str]) -> str:
    """Names as one text, between semicolons; quoted as in CSV where they hold one themselves.

    Examples
    --------
    >>> joined(["monocyte", "a;b"])
    'monocyte;"a;b"'
    """
    text = io.StringIO()
    csv.writer(text, delimiter=";", lineterminator="").writerow(names)
    return text.getvalue()
