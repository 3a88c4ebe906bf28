"""Greedy choice of an ensemble from models that have predicted the same rows.

References
----------
Caruana, Niculescu-Mizil, Crew, Ksikes: Ensemble Selection from Libraries of Models, ICML 2004.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from folds.arrays import AnyFloats, Floats, Ints

Score = Callable[[Ints, Floats], float]
"""Of labels (M,) and probabilities (M, C); larger is better."""
ROUNDS = 25


@dataclass(frozen=True)
class CrossFit:
    """Each fold's rows as a choice predicts them that was made on other folds' rows.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (M, C)
    weights : ndarray of int64, shape (F, R)
        Of R members, chosen for each fold without its rows.
    """

    probabilities: Floats
    weights: Ints


def greedy_weights(labels: Ints, members: AnyFloats, score: Score, rounds: int = ROUNDS) -> Ints:
    """Choose how often each member counts in a mean of probabilities.

    Begins with the best member, then adds whichever makes the mean's score highest, one that is in
    it already among them, as often as `rounds` allows; what is kept is the best of the ensembles on
    that way, the smallest of equal ones.

    Parameters
    ----------
    labels : ndarray of int64, shape (M,)
    members : ndarray of float, shape (R, M, C)
        Probabilities of R members for the same rows.
    rounds : int
        Members to add at most, the first among them; with 1 the best one alone is chosen.

    Returns
    -------
    ndarray of int64, shape (R,)
        Weights, 0 or more, without a common divisor.

    Raises
    ------
    ValueError
        No member, or no round.

    Notes
    -----
    - On the rows that it is chosen on the ensemble is never worse than any member.
    - Members in another order get the same weights, unless scores are equal: then the first wins.
    """
    if not len(members) or rounds < 1:
        raise ValueError(f"{len(members)} members in {rounds} rounds: at least one of each")
    weights = np.zeros(len(members), np.int64)
    total = np.zeros(members.shape[1:])
    best, best_value = weights, -np.inf
    for count in range(1, rounds + 1):
        values = [score(labels, _mean(total + member, count)) for member in members]
        added = int(np.argmax(values))
        total = total + members[added]
        weights = weights + np.eye(len(members), dtype=np.int64)[added]
        if count == 1 or values[added] > best_value:
            best, best_value = weights, values[added]
    return best // np.gcd.reduce(best)


def weighted_mean(members: AnyFloats, weights: Ints) -> Floats:
    """Mean (M, C) of members' probabilities (R, M, C) by their weights (R,)."""
    chosen = np.flatnonzero(weights)
    total = np.zeros(members.shape[1:])
    for number in chosen:
        total += int(weights[number]) * members[number].astype(np.float64)
    return _mean(total, int(weights.sum()))


def cross_fit(
    labels: Ints,
    members: AnyFloats,
    fold: Ints,
    images: NDArray,
    score: Score,
    rounds: int = ROUNDS,
) -> CrossFit:
    """Choose for each fold by the rows of the other folds, and predict its rows so.

    A choice flatters itself on the rows that it was made on, the choice of the best single one
    (`rounds` 1) too; what is returned was chosen by no label that it is scored with.

    Parameters
    ----------
    labels, members, score, rounds
        See `greedy_weights`.
    fold : ndarray of int64, shape (M,)
        With repeats a number for each fold of each repeat, see `Predictions.folds`.
    images : ndarray, shape (M,)
        What the rows are of, as ids: with repeats an image has a row in each, none of which may
        choose for another.

    Raises
    ------
    ValueError
        A fold holds all images, so that none are left to choose by.

    Notes
    -----
    - A fold's probabilities and weights do not depend on its labels.
    - Each member's row is by a model that had not seen its image. That other folds' models had
      seen it does not matter: their predictions of it are nowhere.
    """
    numbers = np.unique(fold)
    probabilities = np.empty(members.shape[1:], np.float32)
    weights = np.empty((len(numbers), len(members)), np.int64)
    for place, number in enumerate(numbers):
        mine = fold == number
        others = ~np.isin(images, images[mine])
        if not others.any():
            raise ValueError("there is one fold alone, so that no other can choose for it")
        own = greedy_weights(labels[others], members[:, others], score, rounds)
        weights[place], probabilities[mine] = own, weighted_mean(members[:, mine], own)
    return CrossFit(probabilities, weights)


def _mean(total: AnyFloats, count: int) -> Floats:
    mean: Floats = (total / count).astype(np.float32)
    return mean
