"""The optimism of the best of several models, and which others may be as good.

The best of N models was also lucky in the images it was chosen by. Choosing again on images drawn
at random, and scoring what was chosen on those not drawn, shows by how much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from folds.arrays import Doubles, Ints
from folds.config.scores import sign
from folds.config.selection import SelectBy
from folds.evaluation.gains import Rivals, gain
from folds.evaluation.intervals import REPLICATES
from folds.evaluation.paired import check_same_rows
from folds.evaluation.predictions import Predictions, ShiftPredictions
from folds.evaluation.replicates import Tally, bootstrap_counts, fitting, tally
from folds.evaluation.shift_replicates import ShiftTally, shift_tally
from folds.evaluation.significance import corrected_t

_NO_EXTERNAL: Mapping[str, Sequence[Predictions]] = MappingProxyType({})


@dataclass(frozen=True)
class Corrected:
    """What the best of several models is worth, its luck taken off.

    Parameters
    ----------
    naive : float
        The best model's value itself; larger is better, a loss counts negative.
    value : float
        Corrected; NaN where nothing can be said.
    low, high : float
        Interval of `value`.
    replicates : int
        How many of those drawn it is of.
    """

    naive: float
    value: float
    low: float
    high: float
    replicates: int

    @property
    def optimism(self) -> float:
        """By how much the best model's own value is too high."""
        return self.naive - self.value


@dataclass(frozen=True)
class FromBest:
    """The best model's value less another's.

    Parameters
    ----------
    value, low, high : float
        The difference and its interval, by the bootstrap over groups.
    p : float
        Two-sided, of the corrected t test over folds; 1 where there are no folds.
    same : bool
        Neither the interval nor the test tells the two apart.
    """

    value: float
    low: float
    high: float
    p: float
    same: bool


def corrected_score(
    trials: Sequence[Predictions],
    select: SelectBy,
    *,
    shift: Sequence[ShiftPredictions] = (),
    external: Mapping[str, Sequence[Predictions]] = _NO_EXTERNAL,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Corrected:
    """Correct the value of the best of several models for having been chosen.

    Parameters
    ----------
    trials : sequence of Predictions
        Out of fold, of each model, for the same rows.
    select : SelectBy
        What the best is chosen by.
    shift : sequence of ShiftPredictions
        Of each model, for rows whose groups are among those of `trials`.
    external : mapping of str to sequence of Predictions
        Of each model, by the external sets' names.

    Raises
    ------
    ValueError
        A score is not measured for all, or the rows differ.

    Notes
    -----
    - In each replicate groups are drawn with replacement, of the images and of every external set.
      The model that is best on those drawn is scored on those not drawn, some 37%. So few images
      can shift a score that is no mean over images (a calibration error, a macro-F1); by how much,
      the best model's own scores on them show, and it is taken off. With a single model the
      corrected value is therefore its own.
    - A replicate in which the score is undefined, as where a class is missing, is left out.
    - The interval is the percentiles of the corrected scores, as the source has it. It is of what
      these models would score on other such images, not of models trained on others. A replicate
      scores 37% of the images, so it is some 1.4 times too wide and holds the truth nearly always.
    - Simulated with 20 equal models and 300 to 1,000 images, alone or in groups of four, the value
      is within 0.3 points of the truth on average where the best model's own is 2 to 5 too high.

    References
    ----------
    Tsamardinos, Greasidou, Borboudakis: Bootstrapping the out-of-sample predictions for efficient
    and accurate cross-validation, Machine Learning 107, 2018 (BBC-CV).
    """
    parts, clusters = _parts(trials, select, shift, external)
    once = [np.ones((size, 1)) for size in clusters]
    own = _ranked(np.stack([_value(parts, t, once) for t in range(len(trials))]))[:, 0]
    best, chosen, control = int(own.argmax()), [], []
    at_a_time = min(fitting(size) for size in clusters)
    draws = (
        bootstrap_counts(size, replicates, seed + number, at_a_time=min(at_a_time, replicates))
        for number, size in enumerate(clusters)
    )
    for drawn in zip(*draws, strict=True):
        left = [(counts == 0).astype(np.float64) for counts in drawn]
        values = _ranked(np.stack([_value(parts, t, drawn) for t in range(len(trials))]))
        chosen.append(_of_each(parts, values.argmax(axis=0), left))
        control.append(_value(parts, best, left))
    scores, own_scores = np.concatenate(chosen), np.concatenate(control)
    defined = np.isfinite(scores) & np.isfinite(own_scores)
    if not defined.any():
        return Corrected(float(own[best]), np.nan, np.nan, np.nan, 0)
    scores = scores[defined] + (own[best] - own_scores[defined].mean())
    low, high = np.quantile(scores, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Corrected(
        float(own[best]), float(scores.mean()), float(low), float(high), int(defined.sum())
    )


def indistinguishable(
    trials: Sequence[Predictions],
    best: int,
    select: SelectBy,
    *,
    shift: Sequence[ShiftPredictions] = (),
    external: Mapping[str, Sequence[Predictions]] = _NO_EXTERNAL,
    confidence: float = 0.95,
) -> list[FromBest]:
    """By how much the best model is better than each, and whether that may be noise.

    Parameters
    ----------
    trials, select, shift, external
        See `corrected_score`.
    best : int
        Place of the best among `trials`.

    Returns
    -------
    list of FromBest
        Of each of `trials`, in their order, the best itself among them.

    Raises
    ------
    ValueError
        A score is not measured for all, or the rows or folds differ.

    Notes
    -----
    Each pair is tested by itself: that the best was chosen as the best of many is not in it, so of
    equal models some are told apart.
    """
    found = []
    for trial in range(len(trials)):
        rivals = Rivals(
            (trials[trial], trials[best]),
            (shift[trial], shift[best]) if shift else None,
            {name: (each[trial], each[best]) for name, each in external.items()},
        )
        # a one-sided bound at 97.5% is an end of the two-sided interval at 95%
        gained = gain(rivals, select, (1 + confidence) / 2)
        p = corrected_t(gained.folds, trials[best].test_share).p if gained.folds else 1.0
        same = gained.lower <= 0 and p >= 1 - confidence
        high = 2 * gained.value - gained.lower
        found.append(FromBest(gained.value, gained.lower, high, p, same))
    return found


@dataclass(frozen=True)
class _Part:
    """The terms of a sum that are scores of the same predictions.

    Parameters
    ----------
    weights : mapping of str to float
        By the scores' names; negative for a loss.
    tallies : sequence of Tally or ShiftTally
        Of each model.
    drawn : int
        Number of the set whose clusters are drawn.
    rows : ndarray of int64, optional
        Which of these clusters are its own; default: all.
    """

    weights: Mapping[str, float]
    tallies: Sequence[Tally | ShiftTally]
    drawn: int
    rows: Ints | None = None

    def value(self, trial: int, counts: Sequence[Doubles]) -> Doubles:
        """Its part of the sum (B,) by the counts (G, B) of each set's clusters."""
        own, one = counts[self.drawn], self.tallies[trial]
        own = own if self.rows is None else own[self.rows]
        if isinstance(one, ShiftTally):
            scores = one.scores(own)
        else:
            scores = one.scores(own, ranked="roc_auc" in self.weights).pooled
        return np.sum([weight * scores[name] for name, weight in self.weights.items()], axis=0)


def _parts(
    trials: Sequence[Predictions],
    select: SelectBy,
    shift: Sequence[ShiftPredictions],
    external: Mapping[str, Sequence[Predictions]],
) -> tuple[list[_Part], list[int]]:
    """The parts of a sum, and the number of clusters of each set that is drawn from."""
    weights: dict[str, dict[str, float]] = {}
    for weight, name in select.terms:
        of, score = ("shift", name) if name.startswith("shift.") else _split(name)
        sums = weights.setdefault(of, {})
        sums[score] = sums.get(score, 0.0) + sign(name) * weight
    parts, clusters = [], []
    if "" in weights or "shift" in weights:
        clusters.append(_clusters(trials, len(trials), "out of fold"))
    if own := weights.pop("", None):
        parts.append(_Part(own, [tally(one) for one in trials], 0))
    if own := weights.pop("shift", None):
        _clusters(shift, len(trials), "under corruptions")
        rows = _places(shift[0], trials[0])
        parts.append(_Part(own, [shift_tally(one) for one in shift], 0, rows))
    for name, own in weights.items():
        each = external.get(name, ())
        clusters.append(_clusters(each, len(trials), f"on external images {name}"))
        parts.append(_Part(own, [tally(one) for one in each], len(clusters) - 1))
    return parts, clusters


def _split(name: str) -> tuple[str, str]:
    """The external set of a score, "" if it is of none, and the score alone."""
    return (name.split(".")[1], name.split(".")[2]) if name.startswith("external.") else ("", name)


def _clusters(each: Sequence[Predictions] | Sequence[ShiftPredictions], count: int, of: str) -> int:
    """How many clusters the rows of all models are in."""
    if len(each) != count or not count:
        raise ValueError(f"{len(each)} of {count} models were measured {of}")
    for other in each[1:]:
        check_same_rows(each[0], other)
    return int(each[0].clusters.max()) + 1


def _places(part: ShiftPredictions, whole: Predictions) -> Ints:
    """Where the clusters of a part of the rows are among those of all."""
    own, every = np.unique(part.groups), np.unique(whole.groups)
    places = np.searchsorted(every, own)
    if not np.array_equal(every[np.minimum(places, len(every) - 1)], own):
        raise ValueError("the corrupted images have groups that the images do not have")
    return places


def _value(parts: Sequence[_Part], trial: int, counts: Sequence[Doubles]) -> Doubles:
    return np.sum([part.value(trial, counts) for part in parts], axis=0)


def _of_each(parts: Sequence[_Part], trials: Ints, counts: Sequence[Doubles]) -> Doubles:
    """Values (B,) of one model for each replicate."""
    values = np.empty(len(trials))
    for trial in np.unique(trials):
        own = trials == trial
        values[own] = _value(parts, int(trial), [each[:, own] for each in counts])
    return values


def _ranked(values: Doubles) -> Doubles:
    """Values in which what is undefined is least."""
    return np.where(np.isnan(values), -np.inf, values)
