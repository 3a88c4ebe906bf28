"""Trials as MLflow is told of them."""

from collections.abc import Callable, Sequence

from distributed.search.trials import Trial, Trials
from folds.config.spaces import Values
from folds.training.outcome import VALUES
from tracking.search.recorder import FoldRecord, TrialRecord


class Records:
    """Makes a record of a trial whenever something has happened to it.

    Parameters
    ----------
    trials : Trials
    names : sequence of str
        Of the folds, in the order in which trials train them.
    settings : callable
        Gives all settings of a trial by its values.
    """

    def __init__(
        self, trials: Trials, names: Sequence[str], settings: Callable[[Values], dict[str, object]]
    ) -> None:
        self._trials, self._names, self._settings = trials, names, settings
        self._folds: dict[tuple[int, int], FoldRecord] = {}

    def of(self, trial: Trial) -> TrialRecord:
        """A trial as far as it has come."""
        return TrialRecord(
            number=trial.number,
            params=self._settings(trial.values),
            values=trial.values,
            folds=[self._fold(trial, place) for place in range(len(trial.scores))],
            state="stopped" if trial.audited else trial.state,
            why=trial.why,
            mean=trial.mean if trial.state == "complete" and not trial.audited else None,
        )

    def _fold(self, trial: Trial, place: int) -> FoldRecord:
        key = trial.number, place
        if key not in self._folds:
            outcome = self._trials.outcome(*key)
            written = (self._trials.fold(*key) / VALUES).stat().st_mtime  # stays the same
            self._folds[key] = FoldRecord(
                name=self._names[place],
                time=round(1000 * written),
                seconds=trial.seconds[place],
                score=trial.scores[place],
                measured=outcome.measured,
                history=outcome.history,
            )
        return self._folds[key]
