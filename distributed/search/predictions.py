"""What trials predicted, put together for the statistics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distributed.outcome.pooling import Pooled, PooledShift, pool
from distributed.search.trials import Trial, Trials
from folds.config.selection import SelectBy
from folds.evaluation.predictions import Predictions, ShiftPredictions, UnseenPredictions, clusters
from folds.evaluation.selection_bias import corrected_score, indistinguishable
from folds.prepare import Prepared
from tracking.summary_parts import Estimate, finite


@dataclass(frozen=True)
class Answers:
    """What complete trials predicted for the same images, as `corrected_score` takes it.

    Parameters
    ----------
    trials : sequence of Trial
    pooled : sequence of Pooled
        Of each.
    shift : sequence of ShiftPredictions
        Of each; empty where nothing was corrupted.
    external : dict of str to sequence of Predictions
        Of each by the sets' names: the mean of its folds' models.
    """

    trials: Sequence[Trial]
    pooled: Sequence[Pooled]
    shift: Sequence[ShiftPredictions]
    external: dict[str, Sequence[Predictions]]

    @classmethod
    def of(cls, prepared: Prepared, trials: Trials, chosen: Sequence[Trial]) -> "Answers":
        """Read what complete trials predicted."""
        pooled = [pool(prepared, trials.outcomes(trial.number)) for trial in chosen]
        names = pooled[0].external if pooled else ()
        corrupted = bool(pooled) and bool(pooled[0].shift.cases)
        return cls(
            chosen,
            pooled,
            [_shift(prepared, one.shift) for one in pooled] if corrupted else (),
            {name: [averaged(one.external[name]) for one in pooled] for name in names},
        )

    def _parts(self, rows: Sequence[int]) -> tuple[list[Predictions], dict[str, Any]]:
        more = {
            "shift": [self.shift[row] for row in rows] if self.shift else (),
            "external": {name: [each[row] for row in rows] for name, each in self.external.items()},
        }
        return [self.pooled[row].oof for row in rows], more

    def corrected(self, select: SelectBy, count: int) -> Estimate:
        """The best of the first trials' pooled value, its luck taken off; larger is better."""
        oof, more = self._parts(range(count))
        found = corrected_score(oof, select, **more)
        return Estimate(value=finite(found.value), low=finite(found.low), high=finite(found.high))

    def own(self, select: SelectBy, row: int) -> Estimate:
        """A trial's own pooled value with its interval; larger is better."""
        oof, more = self._parts([row])
        found = corrected_score(oof, select, **more)
        return Estimate(value=finite(found.naive), low=finite(found.low), high=finite(found.high))

    def differences(self, select: SelectBy, best: int) -> list[tuple[Estimate, float, bool]]:
        """Of each trial its value less the best one's, the p of that, and if both are alike."""
        oof, more = self._parts(range(len(self.trials)))
        return [
            (
                Estimate(value=finite(-d.value), low=finite(-d.high), high=finite(-d.low)),
                d.p,
                d.same,
            )
            for d in indistinguishable(oof, best, select, **more)
        ]


def averaged(unseen: UnseenPredictions) -> Predictions:
    """The mean of all models' probabilities for images that none has seen."""
    return Predictions(unseen.labels, unseen.probabilities.mean(axis=0), unseen.groups)


def _shift(prepared: Prepared, shift: PooledShift) -> ShiftPredictions:
    images = prepared.problem.images
    return ShiftPredictions(
        images.labels[shift.rows],
        shift.predicted,
        np.array([name for name, _ in shift.cases]),
        images.groups[shift.rows],
        len(images.class_names),
        clusters(np.stack([shift.repeat, shift.fold], axis=1)),
    )
