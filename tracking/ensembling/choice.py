"""The best ensemble of several runs, and whether it is better than the best of them alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from folds.arrays import Floats, Ints
from folds.config.selection import SelectBy
from folds.evaluation.calibration import fit_temperature, out_of_fold_temperature
from folds.evaluation.gains import Rivals
from folds.evaluation.gate import Check, beats
from folds.evaluation.greedy import CrossFit, cross_fit, greedy_weights
from folds.evaluation.metrics import scores
from folds.evaluation.predictions import Predictions
from tracking.ensembling.library import Member, same_groups


@dataclass(frozen=True)
class Choice:
    """An ensemble of runs.

    Parameters
    ----------
    members : sequence of Member
        R runs that it may be of.
    select : SelectBy
        What it was chosen by.
    weights : ndarray of int64, shape (R,)
        How much each run counts; chosen by the rows of all folds.
    by_fold : ndarray of int64, shape (F, R)
        Chosen for each fold by the rows of the others.
    runs : sequence of Predictions
        Out of fold, of each run.
    best : int
        The run of the highest score.
    alone, ensemble : Predictions
        The same rows, as the best run alone and as the ensemble predict them, each fold's with what
        the other folds choose.
    better : Check
        Whether the ensemble is better than the best run alone by more than noise.
    """

    members: Sequence[Member]
    select: SelectBy
    weights: Ints
    by_fold: Ints
    runs: Sequence[Predictions]
    best: int
    alone: Predictions
    ensemble: Predictions
    better: Check

    @property
    def chosen(self) -> list[tuple[Member, int]]:
        """The runs that count, with their weights, the greatest first."""
        order = np.argsort(-self.weights, kind="stable")
        return [(self.members[n], int(self.weights[n])) for n in order if self.weights[n]]

    @property
    def words(self) -> str:
        """What the ensemble is made of, for people."""
        return " + ".join(f"{weight} x {member.evidence.name}" for member, weight in self.chosen)


def choose(
    members: Sequence[Member], select: SelectBy, *, rounds: int, confidence: float
) -> Choice:
    """Choose the weights of runs, and judge the choice.

    Parameters
    ----------
    select : SelectBy
        Of out-of-fold scores alone.
    rounds : int
        See `folds.evaluation.greedy.greedy_weights`.
    confidence : float
        Of the test, 0.5 to 1, exclusive.

    Notes
    -----
    Both sides of the test are cross-fitted: an ensemble scored on the rows that chose its weights
    flatters itself, and so does the best of several runs. Of 5 equally good runs (600 images, 5
    folds, 120 simulated) the one by 0.011, the other by 0.008 of accuracy; cross-fitted both are
    within 0.002 of the truth, and an ensemble that gains nothing passes in 2 to 6%. In a single
    case of nearly equal runs the best one's cross-fitted score may lie well below its pooled one:
    the folds then choose now one, now another.
    """
    runs = same_groups(members)
    first, ids = runs[0], members[0].evidence.ids
    chances = np.stack([one.probabilities for one in runs])

    def score(labels: Ints, probabilities: Floats) -> float:
        return select.value(scores(labels, probabilities, select.names))

    def crossed(rounds: int) -> CrossFit:
        return cross_fit(first.labels, chances, first.folds, ids, score, rounds)

    several, one = crossed(rounds), crossed(1)
    ensemble, alone = (replace(first, probabilities=fit.probabilities) for fit in (several, one))
    return Choice(
        members=members,
        select=select,
        weights=greedy_weights(first.labels, chances, score, rounds),
        by_fold=several.weights,
        runs=runs,
        best=int(np.argmax(greedy_weights(first.labels, chances, score, 1))),
        alone=alone,
        ensemble=ensemble,
        better=beats(Rivals((alone, ensemble)), select, confidence),
    )


def calibrate(choice: Choice) -> tuple[Floats, float]:
    """Fit the temperature of the models that are averaged.

    Returns
    -------
    calibrated : ndarray of float32, shape (M, C)
        Out-of-fold probabilities, each fold's with weights and temperature that the others give.
    temperature : float
        For the ensemble that is to be used: of all rows, with the weights that they chose.

    Notes
    -----
    The runs' own temperatures would not do: members that are each calibrated are not sure enough
    together.
    """
    ensemble, ids = choice.ensemble, choice.members[0].evidence.ids
    calibrated = np.empty_like(ensemble.probabilities)
    for weights in np.unique(choice.by_fold, axis=0):
        mine = (choice.by_fold == weights).all(axis=1)[ensemble.folds]
        members = _repeated(choice.runs, weights)
        tempered, _ = out_of_fold_temperature(ensemble.labels, members, ensemble.folds, ids)
        calibrated[mine] = tempered[mine]
    return calibrated, fit_temperature(ensemble.labels, *_repeated(choice.runs, choice.weights))


def _repeated(runs: Sequence[Predictions], weights: Ints) -> list[Floats]:
    """Each run's probabilities as often as it counts."""
    return [
        run.probabilities for run, weight in zip(runs, weights, strict=True) for _ in range(weight)
    ]
