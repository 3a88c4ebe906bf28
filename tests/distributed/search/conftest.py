import numpy as np
import pytest

from folds.config.selection import SelectBy
from folds.evaluation.predictions import CorruptedPredictions
from folds.training.outcome import EpochReport, FoldOutcome

MACRO_F1 = SelectBy.parse("macro_f1")


def outcome(score, fold=0, rows=(0, 1), epochs=(0.5,)):
    """A finished fold with a score, of few images."""
    empty = np.zeros((0, 2), np.float32)
    history = tuple(
        EpochReport(
            epoch=number, stage=0, train_loss=1.0, first_loss=1.0, val_loss=1.0, val_accuracy=0.5,
            val_macro_f1=own, learning_rate=1e-3, images_per_second=1.0, seconds=1.0, score=own,
            averaged=False,
        )
        for number, own in enumerate(epochs)
    )  # fmt: skip
    measured = {"macro_f1": score, "accuracy": score}
    return FoldOutcome(
        repeat=0, fold=fold, rows=np.array(rows), probabilities=np.full((len(rows), 2), 0.5),
        history=history, kept_epoch=len(epochs) - 1, averaged=False, scores=measured, holdout=empty,
        other_views={}, other_view_scores={}, external={}, measured=measured, features=empty,
        corrupted=CorruptedPredictions(
            rows=np.zeros(0, np.int64), cases=(), predicted=np.zeros((0, 0), np.int64)
        ),
        epoch_logits=np.zeros((0, len(rows), 2), np.float16),
    )  # fmt: skip


@pytest.fixture
def run_through():
    """Take trials through a search in order, `score(values, place)` being that of a fold."""

    def run(trials, proposals, rules, score, stop=None):
        from ray.tune.search import Searcher

        from distributed.search.race import settle

        while (given := proposals.suggest("")) not in (None, Searcher.FINISHED):
            number = given["assignment"]
            trial = trials[number]
            while trial.state == "unfinished":
                place = len(trial.scores)
                if stop is not None and (number, place) == stop:
                    return
                trials.add(number, place, outcome(score(trial.values, place), place), 1.0)
                settle(trials, number, rules)

    return run
