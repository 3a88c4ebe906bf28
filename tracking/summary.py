"""What a run was and what came out: whoever tells of a finished run reads its `Summary`.

``summary.json`` is one, by the schema docs/summary.schema.json; `tracking.summary_file` reads it.
What is no JSON (arrays, pictures) is in `tracking.report.visuals`.
"""

import json
from typing import Any, Literal, Self

from pydantic import Field

from folds.errors import listed
from folds.evaluation.metrics import mean_and_std
from tracking.decisions import DecisionSummary
from tracking.summary_parts import (
    Calibration,
    CandidateSummary,
    ClassSummary,
    CurveSummary,
    EpochChoice,
    Estimate,
    FoldSummary,
    Missing,
    MlflowIds,
    Part,
    Registered,
    Runtime,
    ScoredOn,
    Scores,
    ShiftSummary,
    SlicesSummary,
    Software,
    Spread,
)


class Summary(Part):
    """A finished run; null, too, is what a file of format 1 did not tell."""

    format: Literal["crossfold-summary/2"] = "crossfold-summary/2"
    name: str
    date: str | None = Field(description="When it was finished, such as 2026-11-21.")
    config: dict[str, Any] = Field(description="All settings by flag name.")
    config_digest: str
    data_digest: str
    splits_digest: str
    relabel_digest: str | None = Field(
        None, description="Of the file of --relabel; null without one."
    )
    weights: str = Field(description="hub:NAME, file:NAME:DIGEST, demo:DIGEST or random.")
    stages: list[str] = Field(description="The schedule that was trained.")
    image_size: int
    images: int
    scored: int | None = Field(description="Images that have out-of-fold predictions.")
    class_names: list[str]
    class_images: dict[str, int] | None = Field(description="Images of each class.")
    groups: int | None = Field(
        description="Of images that belong together, which no fold cuts; where none are known, "
        "as many as images."
    )
    plan: str
    lanes: int = Field(description="Folds trained at the same time.")
    runtime: Runtime
    software: Software | None
    folds: list[FoldSummary]
    missing: list[Missing] = Field(
        default_factory=list,
        description="What failed for good and is in none of the scores; empty but with "
        "--allow-partial.",
    )
    over_folds: dict[str, Spread] = Field(
        description="Of the folds' own scores; unlike oof, roc_auc ranks within one model's scale."
    )
    oof: Scores = Field(description="Of all out-of-fold predictions pooled.")
    oof_intervals: dict[str, Estimate] = Field(
        description="The same with 95% intervals, by a bootstrap over groups."
    )
    classes: list[ClassSummary]
    calibration: Calibration
    decision: DecisionSummary | None = Field(
        None, description="What the model does where it is unsure; older files lack it."
    )
    epoch_choice: EpochChoice
    oof_other_views: dict[str, Scores] = Field(
        description="The same in other views: tta with --tta, augmented with --val-augment."
    )
    oof_shift: ShiftSummary | None = Field(
        description="Pooled, of corrupted validation images; null with --shift off."
    )
    slices: dict[str, SlicesSummary] = Field(
        default_factory=dict,
        description="Out of fold by site, where sites are known, and by the columns of --slices; "
        "older files lack it.",
    )
    learning_curve: CurveSummary | None = Field(
        None, description="With --learning-curve; older files lack it."
    )
    holdout: ScoredOn | None = Field(
        description="On the test part, never used for choosing; null without --holdout."
    )
    external: dict[str, ScoredOn] = Field(description="On the sets of --external, by name.")
    candidates: list[CandidateSummary]
    mlflow: MlflowIds
    registered: Registered
    notices: list[str]
    seconds: dict[str, float] = Field(description="Wall time by phase.")

    @property
    def digests(self) -> dict[str, str]:
        """What equal runs have in common, by key: digests, and the source of the weights."""
        names = ("config_digest", "data_digest", "splits_digest", "relabel_digest", "weights")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @property
    def fold_count(self) -> int:
        """Folds of each repeat, without those that --only-folds left out."""
        own = {fold.fold for fold in self.folds}
        return len(own | {one.fold for one in self.missing if one.fold is not None})

    @property
    def partial(self) -> str:
        """What is missing and what the scores are of, for people; empty where nothing is."""
        if not self.missing:
            return ""
        verb = "is" if len(self.missing) == 1 else "are"
        lost = sum(one.images for one in self.missing)
        there = sum(one.images for one in self.classes)
        what = "images" if self.config["repeats"] == 1 else "predictions"
        scored = f"; scores are of {there:,} of {there + lost:,} {what}" if lost else ""
        return f"{listed((one.name for one in self.missing), most=5)} {verb} missing{scored}"

    @property
    def causes(self) -> list[str]:
        """Why what is missing has failed, a line each, for people."""
        return [f"{one.name}: {one.cause}" for one in self.missing]

    def of_version(self, version: str) -> Self:
        """The same with the version of the registered model."""
        registered = self.registered.model_copy(update={"version": version})
        return self.model_copy(update={"registered": registered})


def over_folds(scores: list[Scores]) -> dict[str, Spread]:
    """Mean and standard deviation of each score that all folds have."""
    each = [one.defined for one in scores]
    spread = {}
    for name in Scores.model_fields:
        if all(name in values for values in each):
            mean, std = mean_and_std([values[name] for values in each])
            spread[name] = Spread(mean=mean, std=std)
    return spread


def partial_tags(summary: Summary) -> dict[str, str]:
    """What a run and its version are marked with where folds are missing."""
    if not summary.missing:
        return {}
    return {"crossfold.partial": f"{summary.partial} ({'; '.join(summary.causes)})"}


def schema() -> str:
    """The JSON schema of a summary, as docs/summary.schema.json holds it."""
    return json.dumps(Summary.model_json_schema(), indent=2) + "\n"
