"""What a run was and what came out: whoever tells of a finished run reads its `Summary`.

``summary.json`` is one, by the schema docs/summary.schema.json; `tracking.summary_file` reads it.
What is no JSON (arrays, pictures) is in `tracking.report.visuals`.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from folds.evaluation.intervals import Interval
from folds.evaluation.metrics import mean_and_std


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scores(_Part):
    """Scores of predictions; null where a score is not defined."""

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    roc_auc: float | None = Field(description="One against rest, mean over classes.")
    log_loss: float
    brier: float = Field(description="Summed over classes, 0 to 2.")
    ece: float = Field(description="Expected calibration error, 15 bins.")

    @classmethod
    def of(cls, values: Mapping[str, float]) -> Self:
        """Scores by name, null for what is not a number."""
        return cls(**{name: finite(value) for name, value in values.items()})

    @property
    def defined(self) -> dict[str, float]:
        """Those that are defined, by name."""
        return {name: value for name, value in self if value is not None}


class Runtime(_Part):
    """How the network was computed."""

    device: str
    precision: str
    channels_last: bool
    compiled: bool


class FoldSummary(_Part):
    """One trained fold."""

    name: str = Field(description="For people, numbered from 1, such as fold 3.")
    repeat: int
    fold: int
    mlflow_run: str
    kept_epoch: int = Field(description="From 1; --choose-epoch says which one that is.")
    averaged: bool = Field(
        description="Whether the moving average of the weights was kept (--ema), being better."
    )
    epochs: int = Field(description="Epochs trained.")
    stage_seconds: list[float] = Field(description="Seconds of each stage's epochs.")
    images_per_second: float = Field(
        description="Training images a second, median of the last stage's epochs."
    )
    scores: Scores = Field(description="Of the epoch that was kept, on the fold's validation part.")
    other_views: dict[str, Scores] = Field(
        description="The same in other views: tta with --tta, augmented with --val-augment."
    )
    measured: dict[str, float | None] = Field(
        description="On corrupted and external images, by the names of --select-by."
    )

    @property
    def seconds(self) -> float:
        """Seconds of all epochs."""
        return sum(self.stage_seconds)


class Estimate(_Part):
    """A score with the bounds of its 95% interval; null where it is not defined."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, interval: Interval) -> Self:
        """The same, null for what is not a number."""
        return cls(**{name: finite(value) for name, value in vars(interval).items()})


class Case(_Part):
    """Scores under one corruption at one severity."""

    corruption: str
    severity: int
    accuracy: float
    macro_f1: float


class CleanScores(_Part):
    """Scores of the images that were corrupted, as they are."""

    accuracy: float
    macro_f1: float


class ShiftSummary(_Part):
    """Scores of corrupted images; means give each corruption the same weight."""

    images: int = Field(description="Validation images that were corrupted.")
    accuracy: float
    macro_f1: float
    worst: str = Field(description="The corruption of lowest macro-F1.")
    worst_macro_f1: float
    intervals: dict[str, Estimate] = Field(
        description="shift.accuracy and shift.macro_f1, with 95% intervals."
    )
    clean: CleanScores | None = Field(description="Null in what was a file of format 1.")
    cases: list[Case]

    @property
    def corruptions(self) -> int:
        """How many corruptions there are, whatever their severities."""
        return len({case.corruption for case in self.cases})


class ScoredOn(_Part):
    """Scores on images that no fold has trained on."""

    images: int
    models: dict[str, Scores] = Field(description="Of each candidate, by its kind.")


class ClassSummary(_Part):
    """Out-of-fold scores of one class."""

    name: str
    images: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    roc_auc: Estimate = Field(description="Against the rest.")


class Calibration(_Part):
    """What a temperature makes of the probabilities."""

    temperature: float = Field(description="Of the registered model, by all predictions.")
    scores: dict[str, Estimate] = Field(
        description="Out of fold: each fold's with the temperature that the others give."
    )


class EpochChoice(_Part):
    """What choosing an epoch by the images that are scored gains; means over the folds."""

    rule: Literal["last", "best", "crossfit"] = Field(
        description="Which epoch's predictions the pooled scores are of (--choose-epoch)."
    )
    best: float = Field(description="Value of --select-by of each fold's best epoch: flatters.")
    last: float = Field(description="Of the last one.")
    crossfit: float | None = Field(
        description="Of the one that the other folds choose; null in what was a file of format 1."
    )


class CandidateSummary(_Part):
    """A model that could be registered."""

    kind: str = Field(description="best-fold, ensemble, soup or refit.")
    members: int = Field(description="Networks that it asks.")
    evidence: str = Field(description="What its scores are of.")
    scores: Scores
    value: float | None = Field(description="Of --select-by.")


class Spread(_Part):
    """Mean and sample standard deviation over the folds."""

    mean: float
    std: float


class MlflowIds(_Part):
    """Where the run is in MLflow."""

    tracking_uri: str
    experiment_id: str
    parent_run: str


class Registered(_Part):
    """The model that was registered."""

    name: str
    version: str
    alias: str
    kind: str = Field(description="That of one of the candidates.")
    why: str
    fold: int | None = Field(description="Of a best fold.")
    repeat: int | None


class Software(_Part):
    """What the main job ran with."""

    system: str = Field(description="Operating system and processor, such as Linux x86_64.")
    python: str
    packages: dict[str, str] = Field(description="Versions of the packages that matter most.")


class Summary(_Part):
    """A finished run; null, too, is what a file of format 1 did not tell."""

    format: Literal["crossfold-summary/2"] = "crossfold-summary/2"
    name: str
    date: str | None = Field(description="When it was finished, such as 2026-11-21.")
    config: dict[str, Any] = Field(description="All settings by flag name.")
    config_digest: str
    data_digest: str
    splits_digest: str
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
    over_folds: dict[str, Spread]
    oof: Scores = Field(description="Of all out-of-fold predictions pooled.")
    oof_intervals: dict[str, Estimate] = Field(
        description="The same with 95% intervals, by a bootstrap over groups."
    )
    classes: list[ClassSummary]
    calibration: Calibration
    epoch_choice: EpochChoice
    oof_other_views: dict[str, Scores] = Field(
        description="The same in other views: tta with --tta, augmented with --val-augment."
    )
    oof_shift: ShiftSummary | None = Field(
        description="Pooled, of corrupted validation images; null with --shift off."
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
        names = ("config_digest", "data_digest", "splits_digest", "weights")
        return {name: getattr(self, name) for name in names}

    @property
    def fold_count(self) -> int:
        """Folds of each repeat that were trained."""
        return len({fold.fold for fold in self.folds})

    def of_version(self, version: str) -> Self:
        """The same with the version of the registered model."""
        registered = self.registered.model_copy(update={"version": version})
        return self.model_copy(update={"registered": registered})


def finite(value: float) -> float | None:
    """The number, or None where it is none: JSON has no NaN."""
    return value if math.isfinite(value) else None


def over_folds(scores: list[Scores]) -> dict[str, Spread]:
    """Mean and standard deviation of each score that all folds have."""
    each = [one.defined for one in scores]
    spread = {}
    for name in Scores.model_fields:
        if all(name in values for values in each):
            mean, std = mean_and_std([values[name] for values in each])
            spread[name] = Spread(mean=mean, std=std)
    return spread


def schema() -> str:
    """The JSON schema of a summary, as docs/summary.schema.json holds it."""
    return json.dumps(Summary.model_json_schema(), indent=2) + "\n"
