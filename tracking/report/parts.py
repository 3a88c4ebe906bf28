"""What the parts of a run's page show, worked out from the facts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite

import numpy as np
from numpy.typing import NDArray

from folds.config.scores import LOSSES
from folds.pages.templates import number
from tracking.report.facts import ClassScores, Estimate, Report, Shift
from tracking.report.formatting import figure, interval, points, title

MANY = 16  # classes beyond which a matrix has small cells
_MOST_CLASSES = 100  # of a matrix that can be read
_PAIRS = 6  # confusions that are named
_WORST = 0.05  # share of a class below which no kind of mistake is shown in the strongest shade
_STRONGEST = 0.6  # share of a hue that a number can still be read on


@dataclass(frozen=True)
class Scale:
    """A stretch of the axis of scores; places on it are in per cent of its width.

    Parameters
    ----------
    low, high : float
    """

    low: float
    high: float

    def at(self, value: float | None) -> float:
        """Where a value lies, not beyond the ends."""
        if value is None or not isfinite(value):
            return 0.0
        place = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(place, 0.0), 1.0), 2)


def scale(values: Iterable[float | None], step: float = 0.05) -> Scale:
    """The smallest stretch between multiples of `step` that holds all values, within 0 to 1."""
    there = [value for value in values if value is not None and isfinite(value)] or [0.0]
    low = max(floor(min(there) / step + 1e-9) * step, 0.0)
    high = min(ceil(max(there) / step - 1e-9) * step, 1.0)
    return Scale(low, high if high > low else low + step)


def ends(found: Iterable[Estimate]) -> list[float | None]:
    """Values and ends of intervals, for a scale."""
    return [end for one in found for end in (one.value, one.low, one.high)]


@dataclass(frozen=True)
class Headline:
    """A figure that is shown large."""

    value: str
    name: str
    note: str


def headlines(report: Report) -> list[Headline]:
    """Up to four figures that say most."""
    found = []
    for name in ("accuracy", "macro_f1"):
        if (one := report.scores.get(name)) is not None:
            found.append(Headline(figure(one.value, name), title(name), interval(one, name)))
    if report.shift is not None and (one := report.shift.mean.get("macro_f1")) is not None:
        found.append(Headline(figure(one.value), "macro-F1 under shift", interval(one)))
    calibrated = report.calibration.scores if report.calibration is not None else {}
    if (one := calibrated.get("ece", report.scores.get("ece"))) is not None:
        note = interval(one, "ece") + (", with temperature" if "ece" in calibrated else "")
        found.append(Headline(figure(one.value, "ece"), title("ece"), note.lstrip(", ")))
    return found


def verdict(report: Report) -> str:
    """The run in plain words."""
    run, said = report.run, []
    if (right := report.scores.get("accuracy")) is not None:
        within = f" ({interval(right)})" if interval(right) else ""
        images = number(run.scored or run.images, "image")
        said.append(f"Out of fold {figure(right.value)} of {images} are right{within}.")
    if report.shift is not None and (left := report.shift.mean.get("accuracy")) is not None:
        kinds = number(len({case.corruption for case in report.shift.cases}), "corruption")
        said.append(f"Under {kinds} {figure(left.value)} remain.")
    for row in report.elsewhere:
        if (there := row.scores.get("accuracy")) is not None and row.model == "ensemble":
            said.append(f"On {row.name} the ensemble is right in {figure(there.value)}.")
    if (model := report.registered) is not None:
        said.append(f"Registered: {model.kind}, version {model.version}.")
    return " ".join(said)


@dataclass(frozen=True)
class Cell:
    """A cell of a heat map.

    Parameters
    ----------
    heat : float
        Share of the hue, 0 to 0.6.
    """

    count: int
    share: str
    heat: float


@dataclass(frozen=True)
class Confusion:
    """A matrix of counts as it is shown.

    Parameters
    ----------
    rows : list of list of Cell
        By true class; none where there are too many classes to be read.
    pairs : list of (str, str, int, str)
        True class, predicted class, count, share of the true class; the most frequent first.
    """

    rows: list[list[Cell]]
    pairs: list[tuple[str, str, int, str]]


def confusion(counts: NDArray[np.int64], names: Sequence[str]) -> Confusion:
    """Prepare a confusion matrix: mistakes are shaded by the root of their share of the worst."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    wrong = counts - np.diag(np.diag(counts))
    worst = max(float(shares[wrong > 0].max(initial=0)), _WORST)
    many = len(counts) > MANY
    heats = np.where(wrong > 0, np.sqrt(shares / worst), shares * 0.8)
    rows = [
        [
            Cell(int(count), _share(share, many), round(_STRONGEST * float(heat), 3))
            for count, share, heat in zip(*line, strict=True)
        ]
        for line in zip(counts, shares, heats, strict=True)
        if len(counts) <= _MOST_CLASSES
    ]
    order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
    places = [divmod(int(place), len(counts)) for place in order]
    pairs = [
        (names[true], names[other], int(wrong[true, other]), figure(float(shares[true, other])))
        for true, other in places
        if wrong[true, other]
    ]
    return Confusion(rows, pairs)


def _share(share: float, many: bool) -> str:
    """In per cent, as short as it must be."""
    if not many:
        return f"{100 * share:.1f}"
    return f"{100 * share:.0f}" if share >= 0.005 else "<1"


def weakest_first(classes: Sequence[ClassScores]) -> list[ClassScores]:
    """Classes by F1, ascending; those without one last."""
    return sorted(classes, key=lambda one: (not isfinite(one.f1.value), one.f1.value))


@dataclass(frozen=True)
class ShiftRow:
    """One corruption.

    Parameters
    ----------
    values : list of (str, float) or None
        Macro-F1 and heat at each severity of the table.
    mean, accuracy : float
        Over its severities; `mean` is macro-F1.
    drop : float
        What is lost of the clean macro-F1.
    """

    name: str
    values: list[tuple[str, float] | None]
    mean: float
    accuracy: float
    drop: float


@dataclass(frozen=True)
class ShiftTable:
    """Corruptions, the worst first, and their severities, ascending."""

    severities: list[int]
    rows: list[ShiftRow]
    clean: float


def shift_table(found: Shift) -> ShiftTable:
    """Arrange the cases; their heat is the share of the greatest loss."""
    severities = sorted({case.severity for case in found.cases})
    clean = found.clean["macro_f1"]
    worst = max(clean - min(case.macro_f1 for case in found.cases), 1e-9)
    rows = []
    for name in dict.fromkeys(case.corruption for case in found.cases):
        mine = {case.severity: case for case in found.cases if case.corruption == name}
        mean = float(np.mean([case.macro_f1 for case in mine.values()]))
        values = [
            (f"{100 * case.macro_f1:.1f}", _heat((clean - case.macro_f1) / worst))
            if (case := mine.get(severity)) is not None
            else None
            for severity in severities
        ]
        accuracy = float(np.mean([case.accuracy for case in mine.values()]))
        rows.append(ShiftRow(name.replace("_", " "), values, mean, accuracy, clean - mean))
    return ShiftTable(severities, sorted(rows, key=lambda row: row.mean), clean)


def _heat(share: float) -> float:
    return round(_STRONGEST * min(max(share, 0.0), 1.0), 3)


def gap_words(report: Report) -> str:
    """What the selection bias is, in a sentence; empty where it is not known."""
    if (gap := report.gap) is None:
        return ""
    # A loss improves downwards: what choosing gains is positive either way.
    gain = (gap.last - gap.best) if gap.metric in LOSSES else (gap.best - gap.last)
    best, last = figure(gap.best, gap.metric), figure(gap.last, gap.metric)
    return (
        f"Choosing the best epoch by {title(gap.metric)} gains {points(gain, gap.metric)} over the "
        f"last epoch (mean over folds {best} against {last}); choosing on the same images can "
        "explain at most about that much of the scores."
    )
