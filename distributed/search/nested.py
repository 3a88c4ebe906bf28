"""Searches within a search: what the winner of such a search is worth on images it has not seen.

References
----------
Cawley, Talbot: On over-fitting in model selection and subsequent selection bias in performance
evaluation, JMLR 11, 2010.
"""

from dataclasses import dataclass

import numpy as np

from distributed.search.run import Search
from distributed.search.trials import Trial, Trials
from folds.evaluation.metrics import scores
from folds.evaluation.predictions import Predictions
from folds.evaluation.selection_bias import corrected_score
from folds.splits.make import make_splits
from folds.splits.manifest import SplitManifest
from tracking.search.summary import OuterFold
from tracking.summary_parts import Estimate, finite


@dataclass(frozen=True)
class Nested:
    """What the searches within came to.

    Parameters
    ----------
    folds : list of OuterFold
    score : Estimate, optional
        Of all outer folds' images together, each by the winner of the search that had not seen it.
    """

    folds: list[OuterFold]
    score: Estimate | None


def search_within(search: Search) -> Nested:
    """Search once for each outer fold, without its images, and score the winner on these."""
    outer: list[OuterFold] = []
    seen: list[Predictions] = []
    for number, splits in enumerate(outer_splits(search)):
        trials, proposer = search.trials(f"outer-{number}"), search.proposer()
        with search.display(proposer.count, f"outer fold {number + 1}: ") as display:
            search.engine(display.show, splits).search(trials, proposer, None)
        winner = trials.best
        answered = None if winner is None else _answered(search, splits, trials, winner)
        outer.append(_described(search, number, winner, answered, splits))
        if answered is not None:
            seen.append(answered)
    return Nested(outer, _together(search, seen))


def outer_splits(search: Search) -> list[SplitManifest]:
    """Splits for each outer fold, in which its images are the hold-out; groups stay whole.

    Raises
    ------
    UserError
        There are too few images of a class.
    """
    images, split = search.prepared.problem.images, search.config.split
    plain = {"folds": search.options.outer_folds, "repeats": 1, "holdout": 0.0}
    around = make_splits(images, split.model_copy(update=plain))
    fold = around.fold[0]
    return [
        make_splits(images, split, aside=around.ids[fold == number])
        for number in range(search.options.outer_folds)
    ]


def _answered(search: Search, splits: SplitManifest, trials: Trials, winner: Trial) -> Predictions:
    """The mean of the winner's models for the images of the outer fold."""
    images = search.prepared.problem.images
    rows = splits.holdout(images.ids)
    each = [outcome.holdout for outcome in trials.outcomes(winner.number)]
    return Predictions(images.labels[rows], np.mean(each, axis=0), images.groups[rows])


def _described(
    search: Search,
    number: int,
    winner: Trial | None,
    answered: Predictions | None,
    splits: SplitManifest,
) -> OuterFold:
    score = None
    if answered is not None:
        score = finite(search.select.value(scores(answered.labels, answered.probabilities)))
    return OuterFold(
        fold=number,
        trial=None if winner is None else winner.number,
        values={} if winner is None else winner.values,
        inner=np.nan if winner is None else winner.mean,
        score=score,
        images=len(splits.holdout(search.prepared.problem.images.ids)),
    )


def _together(search: Search, seen: list[Predictions]) -> Estimate | None:
    if not seen:
        return None
    joined = Predictions(
        np.concatenate([one.labels for one in seen]),
        np.concatenate([one.probabilities for one in seen]),
        np.concatenate([one.groups for one in seen]),
    )
    found = corrected_score([joined], search.select)
    return Estimate(value=finite(found.naive), low=finite(found.low), high=finite(found.high))
