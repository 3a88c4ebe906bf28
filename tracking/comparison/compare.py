"""What follows from the predictions of two runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from folds.config.scores import sign
from folds.errors import UserError, listed
from folds.evaluation.intervals import Interval, Intervals, intervals, shift_intervals
from folds.evaluation.paired import (
    Difference,
    Differences,
    bootstrap_difference,
    fold_differences,
    fold_scores,
    shift_difference,
)
from folds.evaluation.predictions import Predictions, sum_by_image
from folds.evaluation.significance import CorrectedT, McNemar, corrected_t, holm, mcnemar
from folds.evaluation.slice_differences import SliceDifference, slice_differences
from tracking.comparison.evidence import Evidence

SHIFT_MEAN = "shift.macro_f1"


@dataclass(frozen=True)
class ScoredRun:
    """A run with its scores and their intervals.

    Parameters
    ----------
    letter : str
        What it is called in tables.
    evidence : Evidence
        What it predicted.
    scores : Intervals
        Out of fold.
    shift : mapping of str to Interval
        Under corruptions; empty without --shift.
    auc_in_folds : float
        ROC AUC of each fold by itself, their mean: pooled, probabilities of different models are
        ranked against each other, though their scales differ. NaN where a fold has none.
    """

    letter: str
    evidence: Evidence
    scores: Intervals
    shift: Mapping[str, Interval]
    auc_in_folds: float


@dataclass(frozen=True)
class Comparison:
    """A run against the first.

    Parameters
    ----------
    first, other : ScoredRun
    metric : str
        The score that decides.
    confidence : float
        Of all intervals, 0.5 to 1, exclusive.
    unpaired : str
        Why the runs are compared as independent ones and not image by image; empty if they are.
    differences : Differences
        Of the scores, the other's less the first's.
    shift : mapping of str to Difference
        Empty where not both have been corrupted alike.
    folds : CorrectedT, optional
        The t test over folds, if paired.
    mcnemar : McNemar, optional
        If paired.
    auc_in_folds : CorrectedT, optional
        The t test of ROC AUC over folds, if paired.
    slices : sequence of SliceDifference
        By sites and other columns, if paired and both runs know the same.
    p : float
        Of the deciding test, by Holm's correction for the number of comparisons. The test is that
        over folds if paired, else that of the bootstrap.
    """

    first: ScoredRun
    other: ScoredRun
    metric: str
    confidence: float
    unpaired: str
    differences: Differences
    shift: Mapping[str, Difference]
    folds: CorrectedT | None
    mcnemar: McNemar | None
    auc_in_folds: CorrectedT | None
    slices: Sequence[SliceDifference]
    p: float

    @property
    def certain(self) -> bool:
        """Whether the runs differ by more than noise, by test and by interval."""
        difference = self.differences.pooled[self.metric]
        return self.p < 1 - self.confidence and not difference.low <= 0 <= difference.high


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
    scored = [_score(chr(ord("A") + i), run, confidence) for i, run in enumerate(runs)]
    comparisons = [_compare(scored[0], other, metric, confidence) for other in scored[1:]]
    adjusted = holm([comparison.p for comparison in comparisons])
    return [replace(one, p=p) for one, p in zip(comparisons, adjusted, strict=True)]


def _score(letter: str, run: Evidence, confidence: float) -> ScoredRun:
    shift = {} if run.shift is None else shift_intervals(run.shift, confidence=confidence)
    own = intervals(run.oof, confidence=confidence)
    return ScoredRun(letter, run, own, shift, float(np.mean(fold_scores(run.oof, "roc_auc"))))


def _compare(first: ScoredRun, other: ScoredRun, metric: str, confidence: float) -> Comparison:
    a, b = first.evidence, other.evidence
    unpaired = why_unpaired(a, b)
    oof_a, oof_b = (a.oof, b.oof) if unpaired else same_groups(a.oof, b.oof)
    differences = bootstrap_difference(oof_a, oof_b, paired=not unpaired, confidence=confidence)
    folds, test, auc, slices = None, None, None, []
    if not unpaired:
        slices = slice_differences(oof_a, oof_b, common_columns(a, b), confidence=confidence)
        folds, auc = (
            corrected_t(fold_differences(oof_a, oof_b, name), oof_a.test_share, confidence)
            for name in (metric, "roc_auc")
        )
        test = _mcnemar(a.ids, oof_a, oof_b)
    p = differences.pooled[metric].p if folds is None else folds.p
    return Comparison(
        first, other, metric, confidence, unpaired, differences,
        _shift(a, b, paired=not unpaired, confidence=confidence), folds, test, auc,
        slices, p,
    )  # fmt: skip


def why_unpaired(a: Evidence, b: Evidence) -> str:
    """Why images cannot be compared one by one; empty if they can."""
    if a.splits_digest != b.splits_digest:
        return f"different splits ({a.splits_digest[:8]}, {b.splits_digest[:8]})"
    if not np.array_equal(a.ids, b.ids):
        lacks = "; ".join(f"{run.name}: {run.partial}" for run in (a, b) if run.partial)
        return f"different images{f' ({lacks})' if lacks else ''}"
    if not np.array_equal(a.oof.labels, b.oof.labels):
        return "different labels"
    return "" if np.array_equal(a.oof.folds, b.oof.folds) else "different folds"


def common_columns(a: Evidence, b: Evidence) -> dict[str, NDArray[np.str_]]:
    """Sites and slices that both runs, of the same images, know alike."""
    other = b.columns
    return {n: v for n, v in a.columns.items() if n in other and np.array_equal(v, other[n])}


def same_groups(a: Predictions, b: Predictions) -> tuple[Predictions, Predictions]:
    """Both with the groups of the one that has fewer.

    A run of an older version did not write its groups, so that each of its images is its own; with
    the other's, dependent images stay together.
    """
    groups = min((a.groups, b.groups), key=lambda own: len(np.unique(own)))
    return replace(a, groups=groups), replace(b, groups=groups)


def _mcnemar(ids: NDArray[np.str_], a: Predictions, b: Predictions) -> McNemar:
    """McNemar's test on images, not rows, which must be independent; an image's repeats are not."""
    images, others = (sum_by_image(ids, one.probabilities) for one in (a, b))
    predicted = (images.sums.argmax(axis=1), others.sums.argmax(axis=1))
    return mcnemar(a.labels[images.first], *predicted)


def _shift(a: Evidence, b: Evidence, *, paired: bool, confidence: float) -> dict[str, Difference]:
    if a.shift is None or b.shift is None:
        return {}
    if not np.array_equal(a.shift.corruptions, b.shift.corruptions):
        return {}
    same = np.array_equal(a.shift_ids, b.shift_ids) and paired
    second = replace(b.shift, groups=a.shift.groups) if same else b.shift
    return shift_difference(a.shift, second, paired=same, confidence=confidence)


def better(name: str, value: float) -> bool:
    """Whether a difference of a score is in its favour: above 0, or of a loss below."""
    return sign(name) * value > 0
