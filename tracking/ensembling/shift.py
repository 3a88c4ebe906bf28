"""What an ensemble of runs makes of corrupted images, as far as that is known.

Runs keep the classes that they predict for corrupted images, not the probabilities, so that their
mean is not known. What stands for it is the vote: the class that most of the weight predicts.
"""

import numpy as np
from numpy.typing import NDArray

from folds.arrays import Ints
from tracking.comparison.evidence import Evidence
from tracking.ensembling.choice import Choice

NOTICE = "under corruptions the ensemble is judged by its runs' vote, not by their mean"
_Key = tuple[int, str]  # repeat and id of an image


def vote(choice: Choice) -> dict[str, NDArray] | None:
    """The arrays of ``shift.npz``: of the images that all runs of the ensemble corrupted alike.

    Returns
    -------
    dict of str to ndarray, or None
        Without severities and clean predictions; None where there are no such images.

    Notes
    -----
    - An image is voted on with the weights that the folds without it have chosen.
    - Where all runs agree the mean of their probabilities says the same.
    - Of equal votes that of the run which weighs most wins, of equal ones the first.
    """
    voters: list[int] = np.flatnonzero(choice.by_fold.sum(axis=0)).tolist()
    each = [choice.members[voter].evidence for voter in voters]
    shift = each[0].shift
    if shift is None or not all(_alike(each[0], other) for other in each):
        return None
    first, oof = choice.members[0].evidence, choice.ensemble
    places = _places(first.oof.repeat, first.ids)
    rows = [_places(one.shift_repeats, one.shift_ids) for one in each]
    common = [key for key in rows[0] if all(key in other for other in rows)]
    if not common or oof.fold is None or oof.repeat is None:
        return None
    at = np.array([places[key] for key in common])
    weights = choice.by_fold[:, voters][oof.folds[at]]  # of each image, (S, V)
    votes = np.zeros((len(shift.corruptions), len(common), shift.classes))
    heaviest = np.eye(len(voters))[weights.argmax(axis=1)]
    for number, (one, own) in enumerate(zip(each, rows, strict=True)):
        assert one.shift is not None
        said = one.shift.predicted[:, [own[key] for key in common]]
        share = weights[:, number] + heaviest[:, number] / 2  # which decides where votes are equal
        votes += np.eye(shift.classes)[said] * share[:, None]
    return {
        "ids": first.ids[at], "labels": oof.labels[at], "groups": oof.groups[at],
        "fold": oof.fold[at], "repeat": oof.repeat[at], "corruptions": shift.corruptions,
        "predicted": votes.argmax(axis=2),
    }  # fmt: skip


def _alike(a: Evidence, b: Evidence) -> bool:
    """Whether both have corrupted images, by the same corruptions in the same order."""
    if a.shift is None or b.shift is None:
        return False
    return np.array_equal(a.shift.corruptions, b.shift.corruptions)


def _places(repeats: Ints | None, ids: NDArray[np.str_]) -> dict[_Key, int]:
    """The row of each image in each repeat."""
    numbers = [0] * len(ids) if repeats is None else repeats.tolist()
    return {key: row for row, key in enumerate(zip(numbers, ids.tolist(), strict=True))}
