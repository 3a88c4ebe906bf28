"""The end of a search: the winner, what it is worth, and all of it in one summary."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from distributed.search.nested import Nested
from distributed.search.predictions import Answers, averaged
from distributed.search.run import Search
from distributed.search.trials import Trial, Trials
from folds.config import Config
from folds.config.spaces import Values
from folds.evaluation.intervals import intervals
from folds.evaluation.metrics import scores
from folds.files import output_file
from tracking.search.importance import importance
from tracking.search.summary import AuditedStops, SearchSummary, TrialSummary
from tracking.summary_parts import Estimate, MlflowIds, ScoredOn, Scores, finite


def conclude(search: Search, trials: Trials, nested: Nested | None) -> SearchSummary:
    """Describe a search that has ended, however far its trials came.

    Parameters
    ----------
    nested : Nested, optional
        What the searches within came to.
    """
    done = sorted(trials.complete(), key=lambda trial: (-trial.mean, trial.number))
    audited = [trial for trial in trials if trial.state == "complete" and trial.audited]
    answers = Answers.of(search.prepared, trials, [*done, *audited])
    described = _described(search, trials, answers)
    winner = done[0] if done else None
    best = {} if winner is None else best_settings(search, winner.values)
    runs, images = search.recorder.runs, search.prepared.problem.images
    return SearchSummary(
        name=search.space.name,
        date=time.strftime("%Y-%m-%d"),
        config=search.asked.flat(),
        space=dict(search.options.space),
        sampler=search.options.sampler,
        racing=search.options.racing,
        search_by=search.options.search_by,
        folds=search.fold_names,
        trials=described,
        winner=None if winner is None else winner.number,
        best=best,
        naive=answers.own(search.select, 0) if done else None,
        corrected=answers.corrected(search.select, len(done)) if done else None,
        outer=[] if nested is None else nested.folds,
        outer_score=None if nested is None else nested.score,
        holdout=None if winner is None else _holdout(answers),
        audited=_audited(winner, audited),
        importance=importance(described),
        folds_trained=sum(_folds(trial) for trial in trials),
        folds_without_racing=sum(
            len(trial.scores) if trial.stopped_after is None else trials.folds for trial in trials
        ),
        images=len(images),
        class_names=list(images.class_names),
        backbone=str(best.get("backbone", search.asked.model.backbone)),
        digests=search.digests,
        mlflow=MlflowIds(
            tracking_uri=search.recorder.store.shown,
            experiment_id=runs.experiment_id,
            parent_run=runs.parent,
        ),
        notices=list(search.notices),
        seconds={name: round(value, 2) for name, value in search.stopwatch.seconds.items()}
        | {"total": round(search.stopwatch.total, 2)},
    )


def best_settings(search: Search, values: Values) -> dict[str, Any]:
    """Settings of a trial by flag name, without those that are the defaults.

    What a run is chosen by and scored on is what the user asked for, not what the search needed.
    """
    config = Config.from_flat(search.asked.flat() | search.variation.settings(values))
    plain = Config().flat()
    there = {n: v for g in config.science.values() for n, v in g.items()}
    return {name: value for name, value in there.items() if plain[name] != value}


def write_best(path: Path, summary: SearchSummary) -> None:
    """Write the winner's settings as a file for ``--config``."""
    head = f"# trial {summary.winner} of {summary.name}, the best of {len(summary.trials)}\n"
    with output_file(path) as scratch:
        text = yaml.safe_dump(summary.best, sort_keys=False, allow_unicode=True)
        scratch.write_text(head + text, encoding="utf-8")


def _folds(trial: Trial) -> int:
    """Folds of a trial before it was stopped."""
    return len(trial.scores) if trial.stopped_after is None else trial.stopped_after


def _described(search: Search, trials: Trials, answers: Answers) -> list[TrialSummary]:
    own = {trial.number: row for row, trial in enumerate(answers.trials)}
    compared = answers.differences(search.select, 0) if trials.complete() else []
    return [
        TrialSummary(
            number=trial.number,
            values=trial.values,
            state="stopped" if trial.audited else trial.state,
            scores=[finite(score) for score in trial.scores],
            seconds=[round(value, 3) for value in trial.seconds],
            mean=finite(trial.mean) if trial.number in own else None,
            why=trial.why,
            oof=answers.own(search.select, own[trial.number]) if trial.number in own else None,
            **_compared(compared, own.get(trial.number)),
            audited=trial.audited,
            mlflow_run=search.recorder.runs.folds.get(str(trial.number)),
        )
        for trial in trials
    ]


def _compared(
    compared: Sequence[tuple[Estimate, float, bool]], row: int | None
) -> Mapping[str, Any]:
    """How a trial compares with the best, which is the first row."""
    if row is None or not compared:
        return {"difference": None, "p": None, "tied": False}
    difference, p, same = compared[row]
    return {"difference": difference, "p": p, "tied": same or row == 0}


def _holdout(answers: Answers) -> ScoredOn | None:
    """The winner's models together on the test part."""
    unseen = answers.pooled[0].holdout
    if unseen is None:
        return None
    whole = averaged(unseen)
    around = intervals(whole).pooled
    return ScoredOn(
        images=len(unseen.labels),
        models={"ensemble": Scores.of(scores(whole.labels, whole.probabilities))},
        intervals={"ensemble": {name: Estimate.of(one) for name, one in around.items()}},
    )


def _audited(winner: Trial | None, audited: Sequence[Trial]) -> AuditedStops | None:
    if not audited or winner is None:
        return None
    gains = [trial.mean - winner.mean for trial in audited]
    better = [gain for gain in gains if gain > 0]
    return AuditedStops(
        finished=len(audited),
        better=len(better),
        largest=max(better, default=None),
        seconds=round(sum(sum(t.seconds[t.stopped_after or 0 :]) for t in audited), 2),
    )
