"""What a candidate gains over a champion by a score, or by a weighted sum of several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from folds.config.scores import sign
from folds.config.selection import SelectBy
from folds.evaluation.paired import (
    CorrectedT,
    bootstrap_difference,
    corrected_t,
    fold_differences,
    shift_difference,
    shift_fold_differences,
)
from folds.evaluation.predictions import Predictions, ShiftPredictions
from folds.evaluation.replicates import tally
from folds.evaluation.shifted import shift_tally


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
    """

    pooled: tuple[Predictions, Predictions]
    shift: tuple[ShiftPredictions, ShiftPredictions] | None = None
    external: Mapping[str, tuple[Predictions, Predictions]] = field(default_factory=dict)


@dataclass(frozen=True)
class Gain:
    """A difference of what is larger the better.

    Parameters
    ----------
    before, after : float
        The score itself, or the sum's value.
    value, lower : float
        The gain, and its one-sided bound by the bootstrap over groups.
    folds : sequence of float
        The gain in each fold; empty where there are none.
    """

    before: float
    after: float
    value: float
    lower: float
    folds: Sequence[float]

    def over_folds(self, test_share: float, confidence: float) -> CorrectedT:
        """The corrected t test of the gains in the folds; there must be some."""
        return corrected_t(self.folds, test_share, confidence)


def gain(rivals: Rivals, select: SelectBy, confidence: float) -> Gain:
    """The candidate's gain.

    Raises
    ------
    ValueError
        A score is not measured in both, or the rows or folds differ.

    Notes
    -----
    The bound of a sum lies below its value by the sum of the terms' own distances, as if their
    errors went together: it is never too near.
    """
    parts = [(weight, _one(rivals, name, confidence)) for weight, name in select.terms]
    if len(parts) == 1 and parts[0][0] == 1:
        return parts[0][1]
    signs = [sign(name) for name in select.names]
    folds = [weight * np.array(part.folds) for weight, part in parts]
    whole = all(part.folds for _, part in parts)
    return Gain(
        before=sum(s * w * part.before for s, (w, part) in zip(signs, parts, strict=True)),
        after=sum(s * w * part.after for s, (w, part) in zip(signs, parts, strict=True)),
        value=sum(weight * part.value for weight, part in parts),
        lower=sum(weight * part.lower for weight, part in parts),
        folds=np.sum(folds, axis=0).tolist() if whole else (),
    )


def _one(rivals: Rivals, name: str, confidence: float) -> Gain:
    if name.startswith("shift."):
        if rivals.shift is None:
            raise ValueError(f"{name} was not measured for both alike")
        return _under_shift(*rivals.shift, name, confidence)
    if name.startswith("external."):
        _, source, score = name.split(".")
        if source not in rivals.external:
            raise ValueError(f"{name} was not measured for both on the same images")
        return _pooled(*rivals.external[source], score, confidence)
    return _pooled(*rivals.pooled, name, confidence)


def _pooled(champion: Predictions, candidate: Predictions, metric: str, confidence: float) -> Gain:
    pair = (champion, candidate) if sign(metric) > 0 else (candidate, champion)
    found = bootstrap_difference(*pair, confidence=confidence).pooled[metric]
    before, after = (float(tally(p).once().pooled[metric][0]) for p in (champion, candidate))
    there = champion.fold is not None and candidate.fold is not None
    folds = fold_differences(*pair, metric) if there else ()
    return Gain(before, after, found.value, found.lower, folds)


def _under_shift(
    champion: ShiftPredictions, candidate: ShiftPredictions, name: str, confidence: float
) -> Gain:
    found = shift_difference(champion, candidate, confidence=confidence)
    if name not in found:
        raise ValueError(f"{name} was not measured")
    before, after = (shift_tally(p).once()[name] for p in (champion, candidate))
    folds = () if champion.fold is None else shift_fold_differences(champion, candidate, name)
    return Gain(before, after, found[name].value, found[name].lower, folds)
