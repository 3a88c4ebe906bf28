"""What a search was and what came out: whoever tells of a finished search reads its summary.

``search.json`` is one, by the schema docs/search.schema.json. Scores are values of ``search_by``,
of which larger is better: a loss alone is negative, see `folds.config.selection.SelectBy`. Those of
`SearchSummary.holdout` alone are as they are.
"""

import json
from math import inf
from typing import Any, Literal

from pydantic import Field

from tracking.summary_parts import Estimate, MlflowIds, Part, ScoredOn


class TrialSummary(Part):
    """One configuration, and how far it came."""

    number: int = Field(description="From 1, in the order in which they were proposed.")
    values: dict[str, Any] = Field(
        description="By field of the space; one that does not apply is absent."
    )
    state: Literal["complete", "stopped", "failed", "unfinished"]
    scores: list[float | None] = Field(
        description="Of the folds done, in the order that all trials have; null if not defined."
    )
    seconds: list[float] = Field(description="Of each fold done.")
    mean: float | None = Field(description="Over all folds; null if not all were done.")
    why: str | None = Field(description="It was stopped, or failed.")
    oof: Estimate | None = Field(
        description="Of all out-of-fold predictions pooled, with a 95% interval."
    )
    difference: Estimate | None = Field(
        description="Of the pooled scores, this trial's less the winner's, on the same images."
    )
    p: float | None = Field(description="Of that difference.")
    tied: bool = Field(description="Whether it cannot be told from the winner.")
    audited: bool = Field(description="Whether it was stopped and finished anyway.")
    mlflow_run: str | None

    @property
    def running(self) -> list[float]:
        """Mean score after each fold, up to the first that has no score."""
        means: list[float] = []
        total = 0.0
        for done, score in enumerate(self.scores, 1):
            if score is None:
                break
            total += score
            means.append(total / done)
        return means


class OuterFold(Part):
    """A search of its own that has not seen one part of the images, and its winner on that part."""

    fold: int = Field(description="From 0.")
    trial: int | None = Field(description="Number of its winner; null if none was complete.")
    values: dict[str, Any] = Field(description="Of that winner.")
    inner: float = Field(description="The winner's score in its search, which flatters.")
    score: float | None = Field(description="On the part that its search has not seen.")
    images: int = Field(description="Of that part.")


class AuditedStops(Part):
    """What became of trials that were stopped and finished anyway."""

    finished: int
    better: int = Field(description="How many of them would have beaten the winner.")
    largest: float | None = Field(description="By how much at most; null if none would have.")
    seconds: float = Field(description="What finishing them took.")


class SearchSummary(Part):
    """A finished search."""

    format: Literal["crossfold-search/1"] = "crossfold-search/1"
    name: str
    date: str = Field(description="When it was finished, such as 2026-11-21.")
    config: dict[str, Any] = Field(description="Settings that all trials share, by flag name.")
    space: dict[str, Any] = Field(description="As it was written.")
    sampler: str
    racing: bool = Field(description="Whether trials that were behind were stopped.")
    search_by: str = Field(description="What trials were compared by, as --select-by has it.")
    folds: list[str] = Field(description="Names, in the order in which they were trained.")
    trials: list[TrialSummary]
    winner: int | None = Field(description="Its number; null if no trial was complete.")
    best: dict[str, Any] = Field(
        description="Settings of best.yaml that are not the defaults, by flag name."
    )
    naive: Estimate | None = Field(
        description="The winner's score on the images it was chosen by, which flatters."
    )
    corrected: Estimate | None = Field(
        description="The same less what choosing gains, by a bootstrap that chooses anew."
    )
    outer: list[OuterFold] = Field(description="Of a nested search; else empty.")
    outer_score: Estimate | None = Field(description="On the outer folds together.")
    holdout: ScoredOn | None = Field(
        description="The winner on the test part, which no trial has seen; null without --holdout."
    )
    audited: AuditedStops | None = Field(description="Null without --audit-stops.")
    importance: dict[str, float] = Field(
        description="Share of each field in how scores differ; empty if it cannot be said."
    )
    folds_trained: int
    folds_without_racing: int = Field(description="Had no trial been stopped.")
    images: int
    class_names: list[str]
    backbone: str
    digests: dict[str, str]
    mlflow: MlflowIds
    notices: list[str]
    seconds: dict[str, float] = Field(description="Wall time by phase, and in total.")

    @property
    def best_trial(self) -> TrialSummary | None:
        """The winner."""
        return next((trial for trial in self.trials if trial.number == self.winner), None)

    @property
    def complete(self) -> list[TrialSummary]:
        """Complete trials, the winner first and then by mean."""
        done = [trial for trial in self.trials if trial.state == "complete"]
        return sorted(
            done,
            key=lambda one: (
                one.number != self.winner,
                inf if one.mean is None else -one.mean,
                one.number,
            ),
        )

    @property
    def tied(self) -> list[TrialSummary]:
        """Complete trials that cannot be told from the winner, without it."""
        return [one for one in self.complete if one.tied and one.number != self.winner]


def schema() -> str:
    """The JSON schema of a summary, as docs/search.schema.json holds it."""
    return json.dumps(SearchSummary.model_json_schema(), indent=2) + "\n"
