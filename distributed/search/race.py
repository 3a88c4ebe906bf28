"""Who goes on: after each fold a trial that is behind stops, see `folds.evaluation.racing`.

All that a trial is compared with is known when it starts, since it starts when all trials up to
`ahead` numbers before it have ended. So what happens depends on the configuration and the seed, not
on which worker was faster, and a search that was interrupted ends as one that was not.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from distributed.search.trials import Trial, Trials
from folds.evaluation.racing import rung, verdict

ETA = 3  # of successive halving: a third goes on, after 1, 3, 9, ... epochs


@dataclass(frozen=True)
class Rules:
    """How trials are compared.

    Parameters
    ----------
    ahead : int
        A trial starts when those up to so many numbers before it have ended: at least 1.
    racing : bool
        Whether trials that are behind stop.
    """

    ahead: int
    racing: bool


class Race(FIFOScheduler):  # type: ignore[misc]
    """Keeps what trials report, and stops those that are behind or have all folds.

    Parameters
    ----------
    trials : Trials
    rules : Rules
    tell : callable
        Is given a trial whenever something has happened to it.
    notify : callable
        Tells the user one line.
    """

    _supports_buffered_results = False

    def __init__(
        self,
        trials: Trials,
        rules: Rules,
        tell: Callable[[Trial], None],
        notify: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._trials, self._rules, self._tell, self._notify = trials, rules, tell, notify

    def on_trial_result(self, _controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        """Keep a fold, and say whether the trial goes on."""
        number = trial.config["assignment"].number
        if (cause := result.get("failed")) is not None:
            self._trials.end(number, result["state"], why=cause, epochs=result["epochs"])
        elif self._trials.add(number, result["place"], result["outcome"], result["seconds"]):
            settle(self._trials, number, self._rules)
        own = self._trials[number]
        self._tell(own)
        return TrialScheduler.CONTINUE if own.state == "unfinished" else TrialScheduler.STOP

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Ray Tune writes down what it would go on from; a search goes on from its trials."""
        return FIFOScheduler, ()

    def on_trial_error(self, _controller: Any, trial: TuneTrial) -> None:
        """Let a trial that has lost its worker go on with another, or give it up.

        Notes
        -----
        Ray Tune says so of both; a trial that it is going to try again has status ERROR by now.
        """
        assignment = trial.config["assignment"]
        own, most = self._trials[assignment.number], trial.max_failures
        if trial.status == TuneTrial.ERROR:
            trial.config["assignment"] = replace(assignment, first=len(own.scores))
            self._notify(
                f"trial {own.number} has lost its worker, {trial.run_metadata.num_failures} of the "
                f"{most} times it may (--max-failures), and goes on with fold {len(own.scores) + 1}"
            )
            return
        cause = " ".join(str(trial.get_error() or "its worker was lost").split())[-300:]
        self._trials.end(own.number, "failed", why=cause)
        self._tell(own)


def settle(trials: Trials, number: int, rules: Rules) -> None:
    """End a trial that has all folds, or that is behind the best of those it may be held against.

    Notes
    -----
    A trial that is stopped is expected to end as far from the best as it is on the same folds.
    """
    own = trials[number]
    if not own.scores or own.state != "unfinished":
        return
    if len(own.scores) == trials.folds:
        trials.end(number, "complete", estimate=own.mean)
        return
    if not rules.racing or own.audited:
        return
    rivals = trials.complete(up_to=number - rules.ahead)
    judged = verdict(own.scores, [one.scores for one in rivals])
    if not judged.stop or judged.rival is None:
        return
    rival = rivals[judged.rival]
    place = len(own.scores)
    trials.end(
        number,
        "stopped",
        why=f"behind trial {rival.number} by {-judged.difference:.3f} on {place} of "
        f"{trials.folds} folds (p {judged.p:.2g})",
        estimate=rival.mean + judged.difference,
    )


def rungs(trials: Trials, number: int, rules: Rules) -> dict[int, list[float]]:
    """What a trial's first fold must keep up with: by epoch from 0, the scores that others had."""
    histories = [t.epochs for t in trials if t.number <= number - rules.ahead]
    longest, places, place = max(map(len, histories), default=0), [], 1
    while place < longest:
        places.append(place - 1)
        place *= ETA
    return {epoch: [one[epoch] for one in histories if len(one) > epoch] for epoch in places}


def behind(epoch: int, score: float, others: dict[int, list[float]]) -> bool:
    """Whether a fold ends after an epoch; a score that is no number is behind all."""
    own = score if np.isfinite(score) else -np.inf
    return epoch in others and rung(own, others[epoch], ETA)
