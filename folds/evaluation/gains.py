"""What a candidate gains over a champion by a score, or by a weighted sum of several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from folds.config.scores import sign
from folds.config.selection import SelectBy
from folds.evaluation.paired import (
    bootstrap_difference,
    fold_differences,
    shift_difference,
    shift_fold_differences,
)
from folds.evaluation.predictions import Predictions, ShiftPredictions
from folds.evaluation.replicates import tally
from folds.evaluation.shift_replicates import shift_tally
from folds.evaluation.slice_differences import worst_difference, worst_fold_differences


@dataclass(frozen=True)
class Rivals:
    """Predictions of a champion and a candidate, in this order, each pair for the same rows.

    Parameters
    ----------
    pooled : pair of Predictions
        With folds, the same in both, or without.
    shift : pair of ShiftPredictions, optional
        Under corruptions.
    external : mapping of str to pair of Predictions
        Of external images, by the sets' names.
    columns : mapping of str to ndarray of str, shape (M,)
        Sites and slices of the rows of `pooled`, as both runs know them.
    """

    pooled: tuple[Predictions, Predictions]
    shift: tuple[ShiftPredictions, ShiftPredictions] | None = None
    external: Mapping[str, tuple[Predictions, Predictions]] = field(default_factory=dict)
    columns: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)


@dataclass(frozen=True)
class Gain:
    """By how much the candidate is better: the difference of a score, of a loss turned round.

    Parameters
    ----------
    before, after : float
        The champion's and the candidate's score itself, or the sum's value.
    value, lower : float
        The gain, and its one-sided bound by the bootstrap over groups.
    folds : sequence of float
        The gain in each fold of each repeat, of a sum by its terms that have folds; empty where
        none has.
    """

    before: float
    after: float
    value: float
    lower: float
    folds: Sequence[float]


def gain(rivals: Rivals, select: SelectBy, confidence: float) -> Gain:
    """The candidate's gain by what models are chosen by.

    Parameters
    ----------
    confidence : float
        Of the bound, 0.5 to 1, exclusive.

    Raises
    ------
    ValueError
        A score is not measured in both, or the rows or folds differ.

    Notes
    -----
    The bound of a sum lies below its value by the sum of the terms' own distances. The standard
    error of a sum is never greater than the sum of the terms' standard errors, whatever their
    correlation, so the bound is never too near.
    """
    check_measured(rivals, select)
    parts = [(weight, _gain_by(rivals, name, confidence)) for weight, name in select.terms]
    if len(parts) == 1 and parts[0][0] == 1:
        return parts[0][1]
    signs = [sign(name) for name in select.names]
    # an external set has no folds: those of the other terms are tested without it
    folds = [weight * np.array(part.folds) for weight, part in parts if len(part.folds)]
    return Gain(
        before=sum(s * w * part.before for s, (w, part) in zip(signs, parts, strict=True)),
        after=sum(s * w * part.after for s, (w, part) in zip(signs, parts, strict=True)),
        value=sum(weight * part.value for weight, part in parts),
        lower=sum(weight * part.lower for weight, part in parts),
        folds=np.sum(folds, axis=0).tolist() if folds else (),
    )


def check_measured(rivals: Rivals, select: SelectBy) -> None:
    """Raise ValueError unless all scores of a sum are there for both."""
    under_shift = () if rivals.shift is None else shift_tally(rivals.shift[0]).observed()
    for column in select.columns - rivals.columns.keys():
        raise ValueError(f"{column} is not known of the same images in both")
    for name in select.names:
        if name.startswith("shift.") and name not in under_shift:
            raise ValueError(f"{name} was not measured for both alike")
        if name.startswith("external.") and name.split(".")[1] not in rivals.external:
            raise ValueError(f"{name} was not measured for both on the same images")


def _gain_by(rivals: Rivals, name: str, confidence: float) -> Gain:
    """The gain by one score, by its name in ``--select-by``."""
    if name.startswith("shift.") and rivals.shift is not None:
        return _gain_under_shift(*rivals.shift, name, confidence)
    if name.startswith("external."):
        _, source, score = name.split(".")
        return _pooled_gain(*rivals.external[source], score, confidence)
    if column := SelectBy.parse(name).columns:
        return _gain_at_worst(rivals, column.pop(), name, confidence)
    return _pooled_gain(*rivals.pooled, name, confidence)


def _gain_at_worst(rivals: Rivals, column: str, name: str, confidence: float) -> Gain:
    values, score = rivals.columns[column], name.rsplit(".", 1)[-1].replace("worst", "macro_f1")
    found = worst_difference(*rivals.pooled, values, score, confidence=confidence)
    if found is None:
        raise ValueError(f"no value of {column} has enough images in common")
    in_folds = all(own.fold is not None for own in rivals.pooled)
    folds = worst_fold_differences(*rivals.pooled, column, values, name) if in_folds else ()
    return Gain(found.before, found.after, found.difference.value, found.difference.lower, folds)


def _pooled_gain(
    champion: Predictions, candidate: Predictions, metric: str, confidence: float
) -> Gain:
    # of a loss the champion's is the minuend, so that the difference is a gain
    pair = (champion, candidate) if sign(metric) > 0 else (candidate, champion)
    difference = bootstrap_difference(*pair, confidence=confidence).pooled[metric]
    before, after = (float(tally(p).observed().pooled[metric][0]) for p in (champion, candidate))
    in_folds = champion.fold is not None and candidate.fold is not None
    folds = fold_differences(*pair, metric) if in_folds else ()
    return Gain(before, after, difference.value, difference.lower, folds)


def _gain_under_shift(
    champion: ShiftPredictions, candidate: ShiftPredictions, name: str, confidence: float
) -> Gain:
    differences = shift_difference(champion, candidate, confidence=confidence)
    before, after = (shift_tally(p).observed()[name] for p in (champion, candidate))
    folds = () if champion.fold is None else shift_fold_differences(champion, candidate, name)
    return Gain(before, after, differences[name].value, differences[name].lower, folds)
