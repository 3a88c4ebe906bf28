"""What follows from the predictions of two runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from folds.config.scores import sign
from folds.errors import UserError, listed
from folds.evaluation.intervals import Interval, Intervals, intervals, shift_intervals
from folds.evaluation.paired import (
    CorrectedT,
    Difference,
    Differences,
    McNemar,
    bootstrap_difference,
    holm,
    mcnemar,
    shift_difference,
    t_over_folds,
)
from folds.evaluation.predictions import Predictions, clusters
from tracking.comparison.evidence import Evidence

SHIFT_MEAN = "shift.macro_f1"


@dataclass(frozen=True)
class Judged:
    """A run with its scores.

    Parameters
    ----------
    letter : str
        What it is called in tables.
    evidence : Evidence
    scores : Intervals
    shift : mapping of str to Interval
        Empty without --shift.
    """

    letter: str
    evidence: Evidence
    scores: Intervals
    shift: Mapping[str, Interval]


@dataclass(frozen=True)
class Comparison:
    """A run against the first.

    Parameters
    ----------
    first, other : Judged
    metric : str
        The score that decides.
    confidence : float
    unpaired : str
        Why images are not compared one by one; empty if they are.
    differences : Differences
        Of the scores, the other's less the first's.
    shift : mapping of str to Difference
        Empty where not both have been corrupted alike.
    folds : CorrectedT, optional
        Over folds, if paired.
    mcnemar : McNemar, optional
        If paired.
    p : float
        Of the deciding test, corrected for the number of comparisons.
    """

    first: Judged
    other: Judged
    metric: str
    confidence: float
    unpaired: str
    differences: Differences
    shift: Mapping[str, Difference]
    folds: CorrectedT | None
    mcnemar: McNemar | None
    p: float

    @property
    def certain(self) -> bool:
        """Whether the runs differ by more than noise, by test and by interval."""
        found = self.differences.pooled[self.metric]
        return self.p < 1 - self.confidence and not found.low <= 0 <= found.high


def compare(runs: Sequence[Evidence], metric: str, confidence: float) -> list[Comparison]:
    """Compare runs with the first of them.

    Raises
    ------
    UserError
        They have different classes.
    """
    first = runs[0]
    for other in runs[1:]:
        if other.class_names != first.class_names:
            odd = sorted(set(first.class_names) ^ set(other.class_names)) or ["their order"]
            raise UserError(
                f"RUN {other.name}: its classes are not those of {first.name} ({listed(odd)}); "
                "compare runs of the same classes"
            )
    judged = [_judge(chr(ord("A") + i), run, confidence) for i, run in enumerate(runs)]
    found = [_compare(judged[0], other, metric, confidence) for other in judged[1:]]
    adjusted = holm([one.p for one in found])
    return [replace(one, p=p) for one, p in zip(found, adjusted, strict=True)]


def _judge(letter: str, run: Evidence, confidence: float) -> Judged:
    shift = {} if run.shift is None else shift_intervals(run.shift, confidence=confidence)
    return Judged(letter, run, intervals(run.oof, confidence=confidence), shift)


def _compare(first: Judged, other: Judged, metric: str, confidence: float) -> Comparison:
    a, b = first.evidence, other.evidence
    unpaired = why_unpaired(a, b)
    one, two = (a.oof, b.oof) if unpaired else same_groups(a.oof, b.oof)
    differences = bootstrap_difference(one, two, paired=not unpaired, confidence=confidence)
    folds, test = None, None
    if not unpaired:
        folds = t_over_folds(one, two, metric, confidence)
        test = _mcnemar(a.ids, one, two)
    p = differences.pooled[metric].p if folds is None else folds.p
    return Comparison(
        first, other, metric, confidence, unpaired, differences,
        _shift(a, b, paired=not unpaired, confidence=confidence), folds, test, p,
    )  # fmt: skip


def why_unpaired(a: Evidence, b: Evidence) -> str:
    """Why images cannot be compared one by one; empty if they can."""
    if a.splits_digest != b.splits_digest:
        return f"different splits ({a.splits_digest[:8]}, {b.splits_digest[:8]})"
    if not np.array_equal(a.ids, b.ids):
        return "different images"
    if not np.array_equal(a.oof.labels, b.oof.labels):
        return "different labels"
    return "" if np.array_equal(a.oof.folds, b.oof.folds) else "different folds"


def same_groups(a: Predictions, b: Predictions) -> tuple[Predictions, Predictions]:
    """Both with the groups of the one that has fewer: an older run did not write them."""
    groups = min((a.groups, b.groups), key=lambda own: len(np.unique(own)))
    return replace(a, groups=groups), replace(b, groups=groups)


def _mcnemar(ids: np.ndarray, a: Predictions, b: Predictions) -> McNemar:
    """On images, not on rows: the probabilities of an image's repeats are averaged."""
    number = clusters(ids)
    labels = np.zeros(number.max() + 1, np.int64)
    labels[number] = a.labels
    sums = np.zeros((2, len(labels), a.probabilities.shape[1]))
    for total, one in zip(sums, (a, b), strict=True):
        np.add.at(total, number, one.probabilities)
    return mcnemar(labels, *sums.argmax(axis=2))


def _shift(a: Evidence, b: Evidence, *, paired: bool, confidence: float) -> dict[str, Difference]:
    if a.shift is None or b.shift is None:
        return {}
    if not np.array_equal(a.shift.corruptions, b.shift.corruptions):
        return {}
    same = np.array_equal(a.shift_ids, b.shift_ids) and paired
    second = replace(b.shift, groups=a.shift.groups) if same else b.shift
    return shift_difference(a.shift, second, paired=same, confidence=confidence)


def better(name: str, value: float) -> bool:
    """Whether a difference of a score is in its favour."""
    return sign(name) * value > 0
