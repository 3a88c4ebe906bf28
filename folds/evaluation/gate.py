"""Whether a candidate may replace the champion: checks, each with its figures in one line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from folds.config.scores import sign
from folds.config.selection import SelectBy
from folds.evaluation.gains import Rivals, gain
from folds.evaluation.paired import shift_difference
from folds.evaluation.predictions import Predictions, ShiftPredictions
from folds.evaluation.replicates import tally
from folds.evaluation.significance import corrected_t
from folds.evaluation.slice_differences import slice_changes

_MOST_LOST_UNDER_SHIFT = 0.02  # of mean corruption macro-F1, 0 to 1
_ROUNDING = 1e-9  # a drop of exactly as much is allowed
NO_SLICE_DROPS = "no slice drops"


@dataclass(frozen=True)
class Check:
    """A condition of promotion.

    Parameters
    ----------
    name : str
        Of the check.
    passed : bool, optional
        None where nothing was there to be checked.
    text : str
        One line with its figures.
    """

    name: str
    passed: bool | None
    text: str


def beats(rivals: Rivals, select: SelectBy, confidence: float = 0.95) -> Check:
    """Whether the candidate is better by more than noise.

    Parameters
    ----------
    select : SelectBy
        By what.

    Raises
    ------
    ValueError
        A score is not measured in both, or the rows or folds differ.

    Notes
    -----
    Without folds (an external set) the bootstrap over groups decides: its one-sided bound must be
    above 0. With folds the corrected t test over them must agree, since the bootstrap does not see
    what training itself leaves to chance. A candidate that is as good as the champion passes at
    most 6% of the time at a confidence of 0.95, given some hundred images.
    """
    gained = gain(rivals, select, confidence)
    passed = gained.lower > 0
    text = (
        f"{select} {gained.before:.4f} -> {gained.after:.4f}: better by {gained.value:+.4f}, "
        f"at least {gained.lower:+.4f} at {100 * confidence:.5g}%"
    )
    if gained.folds:
        test = corrected_t(gained.folds, rivals.pooled[0].test_share, confidence)
        passed = passed and test.p_greater < 1 - confidence
        text += f"; corrected t test over folds p = {test.p_greater:.3f}"
    return Check("beats", passed, text)


def no_worse_under_shift(
    champion: ShiftPredictions, candidate: ShiftPredictions, confidence: float = 0.95
) -> Check:
    """Whether mean corruption macro-F1 is not lower by more than noise, nor by 2 points.

    Raises
    ------
    ValueError
        The rows or corruptions differ.
    """
    if not np.array_equal(champion.corruptions, candidate.corruptions):
        raise ValueError("the two sets of predictions are not of the same corruptions")
    change = shift_difference(champion, candidate, confidence=confidence)["shift.macro_f1"]
    passed = change.upper >= 0 and change.value >= -_MOST_LOST_UNDER_SHIFT
    text = (
        f"mean corruption macro-F1 changes by {change.value:+.4f}, at most {change.upper:+.4f} "
        f"at {confidence:.0%}; may lose {_MOST_LOST_UNDER_SHIFT} at most and no more than noise"
    )
    return Check("no worse under shift", passed, text)


def no_class_drops(
    champion: Predictions,
    candidate: Predictions,
    class_names: Sequence[str],
    max_class_drop: float,
) -> Check:
    """Whether no class loses more of its recall than is allowed, noise or not.

    Parameters
    ----------
    max_class_drop : float
        Of a recall, 0 to 1.
    """
    before, after = (tally(p).observed().per_class["recall"][:, 0] for p in (champion, candidate))
    change = np.nan_to_num(after - before)  # a class without images has lost nothing
    worst = int(change.argmin())
    what = "greatest loss of recall" if change[worst] < 0 else "no recall falls; least gain"
    text = (
        f"{what}: {class_names[worst]} {before[worst]:.3f} -> {after[worst]:.3f} "
        f"({change[worst]:+.3f}), allowed {-max_class_drop:+.3f}"
    )
    return Check("no class drops", bool(change[worst] >= -max_class_drop - _ROUNDING), text)


def no_slice_drops(
    champion: Predictions,
    candidate: Predictions,
    columns: Mapping[str, NDArray[np.str_]],
    max_slice_drop: float,
) -> Check:
    """Whether no site or slice loses more of its accuracy than is allowed, noise or not.

    Parameters
    ----------
    columns : mapping of str to ndarray of str, shape (M,)
        Of the rows of the predictions, which are the same in both.
    max_slice_drop : float
        Of an accuracy, 0 to 1.

    Notes
    -----
    Only values of enough images count, see `folds.evaluation.slices.FEWEST`.
    """
    changes = slice_changes(champion, candidate, columns)
    if not changes:
        return Check(NO_SLICE_DROPS, None, f"no value of {', '.join(columns)} has enough images")
    worst = min(changes, key=lambda one: one.change)
    what = "greatest loss of accuracy" if worst.change < 0 else "no accuracy falls; least gain"
    text = (
        f"{what}: {worst.column} {worst.value} {worst.before:.3f} -> {worst.after:.3f} "
        f"({worst.change:+.3f}), allowed {-max_slice_drop:+.3f}"
    )
    return Check(NO_SLICE_DROPS, worst.change >= -max_slice_drop - _ROUNDING, text)


def floors(scores: Mapping[str, float], least: Mapping[str, float]) -> Check:
    """Whether scores reach their floors; of a loss, stay below its ceiling.

    Parameters
    ----------
    scores : mapping of str to float
        By the names of ``--select-by``; one that is missing or NaN does not pass.
    least : mapping of str to float
        By name.
    """
    parts, passed = [], True
    for name, limit in least.items():
        value, loss = scores.get(name, float("nan")), sign(name) < 0
        reached = value <= limit if loss else value >= limit
        passed = passed and reached
        word = "at most" if loss else "at least"
        figure = f"{value:.4f}" if name in scores else "not measured"
        parts.append(f"{name} {figure} ({word} {limit:g}{'' if reached else ': missed'})")
    return Check("floors", passed if least else None, ", ".join(parts) or "none asked for")
