"""What the parts of a run's page show, worked out from its summary and counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

import numpy as np
from numpy.typing import NDArray

from folds.config.scores import LOSSES, TITLES
from folds.evaluation.epoch_choice import EPOCHS
from folds.pages.scale import Scale, scale
from folds.pages.templates import number
from tracking.formatting import figure, interval, title
from tracking.summary import Summary
from tracking.summary_parts import Case, ClassSummary, Estimate, Scores

MANY = 16  # classes beyond which a matrix has small cells
_MOST_CLASSES = 100  # of a matrix that can be read
_PAIRS = 6  # confusions that are named
_WORST = 0.05  # share of a class below which no kind of mistake is shown in the strongest shade
_STRONGEST = 0.6  # share of a hue that a number can still be read on
_VIEWS = {
    "tta": "out of fold, TTA",
    "adapted": "out of fold, adapted",
    "augmented": "out of fold, augmented",
}


def score_scale(scores: Mapping[str, Estimate]) -> Scale:
    """A scale for the scores that have 1 as their best, and for their intervals."""
    shares = [one for name, one in scores.items() if name not in LOSSES]
    return scale(end for one in shares for end in (one.value, one.low, one.high))


@dataclass(frozen=True)
class Headline:
    """A figure that is shown large."""

    value: str
    name: str
    note: str


def headlines(summary: Summary) -> list[Headline]:
    """Up to four figures that say most."""
    pooled, shift = summary.oof_intervals, summary.oof_shift
    shown = [
        Headline(figure(pooled[name].value, name), title(name), interval(pooled[name], name))
        for name in ("accuracy", "macro_f1")
    ]
    if shift is not None:
        corrupted = shift.intervals["shift.macro_f1"]
        shown.append(Headline(figure(corrupted.value), "macro-F1 under shift", interval(corrupted)))
    ece = summary.calibration.scores["ece"]
    note = f"{interval(ece, 'ece')}, with temperature".removeprefix(", ")
    return [*shown, Headline(figure(ece.value, "ece"), title("ece"), note)]


def verdict(summary: Summary) -> str:
    """The run in plain words."""
    right, shift = summary.oof_intervals["accuracy"], summary.oof_shift
    images = number(summary.scored or summary.images, "image")
    sentences = ["This is not the whole run."] if summary.missing else []
    sentences.append(f"Out of fold {_with_ends(right)} of {images} are right.")
    if shift is not None:
        left = figure(shift.intervals["shift.accuracy"].value)
        sentences.append(f"Under {number(shift.corruptions, 'corruption')} {left} remain.")
    sentences += [
        f"On {row.name} the ensemble is right in {_with_ends(row.estimates['accuracy'])}."
        for row in elsewhere(summary)
        if row.model == "ensemble"
    ]
    model = summary.registered
    return " ".join([*sentences, f"Registered: {model.kind}, version {model.version}."])


def _with_ends(estimate: Estimate) -> str:
    within = f" ({interval(estimate)})" if interval(estimate) else ""
    return f"{figure(estimate.value)}{within}"


@dataclass(frozen=True)
class ScoreRow:
    """Scores of other predictions: of a hold-out, an external set, another view of the images.

    Parameters
    ----------
    name, model : str
        What was predicted and by what, such as ``hold-out`` and ``best fold``.
    images : int
    scores : Scores
    intervals : mapping of str to Estimate
        The same with intervals; empty where there are none.
    """

    name: str
    model: str
    images: int
    scores: Scores
    intervals: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def estimates(self) -> dict[str, Estimate]:
        """Each score, with its interval if it has one."""
        plain = {n: Estimate(value=v, low=None, high=None) for n, v in self.scores.defined.items()}
        return plain | dict(self.intervals)


def elsewhere(summary: Summary) -> list[ScoreRow]:
    """Scores of all predictions but the plain out-of-fold ones."""
    scored = summary.scored or summary.images
    rows = [
        ScoreRow(_VIEWS[view], "the folds", scored, scores)
        for view, scores in summary.oof_other_views.items()
    ]
    tests = dict(summary.external)
    if summary.holdout is not None:
        tests["hold-out"] = summary.holdout
    return rows + [
        ScoreRow(name, kind.replace("-", " "), test.images, scores, test.intervals.get(kind, {}))
        for name, test in tests.items()
        for kind, scores in test.models.items()
    ]


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


def weakest_first(classes: Sequence[ClassSummary]) -> list[ClassSummary]:
    """Classes by F1, ascending; those without one last."""
    return sorted(classes, key=lambda one: inf if one.f1.value is None else one.f1.value)


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


def shift_table(cases: Sequence[Case], clean: float) -> ShiftTable:
    """Arrange the cases; their heat is the share of the greatest loss.

    Parameters
    ----------
    cases : sequence of Case
        In any order, at least one.
    clean : float
        Macro-F1 of the same images as they are.
    """
    severities = sorted({case.severity for case in cases})
    worst = max(clean - min(case.macro_f1 for case in cases), 1e-9)
    rows = []
    for name in dict.fromkeys(case.corruption for case in cases):
        by_severity = {case.severity: case for case in cases if case.corruption == name}
        mean = float(np.mean([case.macro_f1 for case in by_severity.values()]))
        values = [
            (f"{100 * case.macro_f1:.1f}", _heat((clean - case.macro_f1) / worst))
            if (case := by_severity.get(severity)) is not None
            else None
            for severity in severities
        ]
        accuracy = float(np.mean([case.accuracy for case in by_severity.values()]))
        rows.append(ShiftRow(name.replace("_", " "), values, mean, accuracy, clean - mean))
    return ShiftTable(severities, sorted(rows, key=lambda row: row.mean), clean)


def _heat(share: float) -> float:
    return round(_STRONGEST * min(max(share, 0.0), 1.0), 3)


def epoch_words(summary: Summary) -> str:
    """Which epochs the pooled scores are of, and what others would show; without a full stop."""
    choice, metric = summary.epoch_choice, summary.config["select_by"]
    # the value of a loss alone is its negative (larger is better); people know it as it is
    turn = -1 if metric in LOSSES else 1
    values = {rule: getattr(choice, rule) for rule in EPOCHS}
    shown = {rule: f"{turn * value:.3f}" for rule, value in values.items() if value is not None}
    own, score = shown.pop(choice.rule), TITLES.get(metric, metric)
    others = "; ".join(f"of {EPOCHS[rule]}: {value}" for rule, value in shown.items())
    words = f"scores are of {EPOCHS[choice.rule]}: {score} {own} in the mean over folds; {others}"
    if choice.rule == "crossfit":  # what is kept and registered is the best one's model
        words += "; single folds, other views and shift are of each fold's best epoch, and flatter"
    return words
