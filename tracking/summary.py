"""``summary.json``: what a run was and what came out; its schema is docs/summary.schema.json."""

import json
import math
from typing import Any, Self

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


class Runtime(_Part):
    """How the network was computed."""

    device: str
    precision: str
    channels_last: bool
    compiled: bool


class FoldSummary(_Part):
    """One trained fold."""

    repeat: int
    fold: int
    mlflow_run: str
    best_epoch: int = Field(description="From 1.")
    averaged: bool = Field(
        description="Whether the moving average of the weights was kept (--ema), being better."
    )
    epochs: int = Field(description="Epochs trained.")
    stage_seconds: list[float] = Field(description="Seconds of each stage's epochs.")
    images_per_second: float = Field(
        description="Training images a second, median of the last stage's epochs."
    )
    scores: Scores = Field(description="Of the best epoch, on the fold's validation part.")
    other_views: dict[str, Scores] = Field(
        description="The same in other views: tta with --tta, augmented with --val-augment."
    )
    measured: dict[str, float | None] = Field(
        description="On corrupted and external images, by the names of --select-by."
    )


class Estimate(_Part):
    """A score with the bounds of its 95% interval; null where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


class Case(_Part):
    """Scores under one corruption at one severity."""

    corruption: str
    severity: int
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
    cases: list[Case]


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


class Gap(_Part):
    """What choosing the best epoch by the validation part gains on it; means over the folds."""

    best: float = Field(description="Value of --select-by of the best epoch.")
    last: float = Field(description="Of the last one.")


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


class Summary(_Part):
    """A finished run."""

    format: str = "crossfold-summary/1"
    name: str
    config: dict[str, Any] = Field(description="All settings by flag name.")
    config_digest: str
    data_digest: str
    splits_digest: str
    weights: str = Field(description="hub:NAME, file:NAME:DIGEST or random.")
    stages: list[str] = Field(description="The schedule that was trained.")
    image_size: int
    images: int
    class_names: list[str]
    plan: str
    lanes: int = Field(description="Folds trained at the same time.")
    runtime: Runtime
    folds: list[FoldSummary]
    over_folds: dict[str, Spread]
    oof: Scores = Field(description="Of all out-of-fold predictions pooled.")
    oof_intervals: dict[str, Estimate] = Field(
        description="The same with 95% intervals, by a bootstrap over groups."
    )
    classes: list[ClassSummary]
    calibration: Calibration
    gap: Gap
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

    def of_version(self, version: str) -> Self:
        """The same with the version of the registered model."""
        registered = self.registered.model_copy(update={"version": version})
        return self.model_copy(update={"registered": registered})


def to_scores(values: dict[str, float]) -> Scores:
    """Scores with null for what is not a number."""
    return Scores(**{name: defined(value) for name, value in values.items()})


def defined(value: float) -> float | None:
    """The number, or None where it is none."""
    return value if math.isfinite(value) else None


def estimated(found: Interval) -> Estimate:
    """A score with its interval, null for what is not a number."""
    return Estimate(value=defined(found.value), low=defined(found.low), high=defined(found.high))


def over_folds(scores: list[Scores]) -> dict[str, Spread]:
    """Mean and standard deviation of each score that all folds have."""
    spread = {}
    for name in Scores.model_fields:
        values = [getattr(one, name) for one in scores]
        if None not in values:
            mean, std = mean_and_std(values)
            spread[name] = Spread(mean=mean, std=std)
    return spread


def schema() -> str:
    """The JSON schema of a summary, as docs/summary.schema.json holds it."""
    return json.dumps(Summary.model_json_schema(), indent=2) + "\n"
