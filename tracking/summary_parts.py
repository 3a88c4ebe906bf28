"""The parts of a `tracking.summary.Summary`."""

import math
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from folds.evaluation.intervals import Interval


class Part(BaseModel):
    """What all parts are like: fixed, and without anything that the schema does not name."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Scores(Part):
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


class Runtime(Part):
    """How the network was computed."""

    device: str
    precision: str
    channels_last: bool
    compiled: bool


class FoldSummary(Part):
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


class Missing(Part):
    """A fold, or the refit, that failed for good and was left out."""

    name: str = Field(description="For people, as those of folds.")
    repeat: int | None = Field(description="Null of a refit.")
    fold: int | None
    images: int = Field(description="Of its validation part, which it would have predicted.")
    cause: str = Field(description="Why it failed.")


class Estimate(Part):
    """A score with the bounds of its 95% interval; null where it is not defined."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, interval: Interval) -> Self:
        """The same, null for what is not a number."""
        return cls(**{name: finite(value) for name, value in vars(interval).items()})


class Case(Part):
    """Scores under one corruption at one severity."""

    corruption: str
    severity: int
    accuracy: float
    macro_f1: float


class CleanScores(Part):
    """Scores of the images that were corrupted, as they are."""

    accuracy: float
    macro_f1: float


class ShiftSummary(Part):
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


class ScoredOn(Part):
    """Scores on images that no fold has trained on."""

    images: int
    models: dict[str, Scores] = Field(description="Of each candidate, by its kind.")
    intervals: dict[str, dict[str, Estimate]] = Field(
        default_factory=dict,
        description="The same with 95% intervals, by a bootstrap over groups; older files lack it.",
    )
    absent: dict[str, float] = Field(
        default_factory=dict,
        description="Share of the images that a candidate takes for a class that is not there; "
        "empty where all classes are there.",
    )


class ClassSummary(Part):
    """Out-of-fold scores of one class."""

    name: str
    images: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    roc_auc: Estimate = Field(description="Against the rest.")


class SliceSummary(Part):
    """Out-of-fold scores of the images of one value of a column."""

    value: str
    images: int
    enough: bool = Field(description="Whether there are enough images to be the worst, 20.")
    accuracy: Estimate
    macro_f1: Estimate = Field(description="Over the classes that these images have.")


class SlicesSummary(Part):
    """Out-of-fold scores by the values of a column."""

    worst: str | None = Field(
        description="That of lowest macro-F1 among those of enough images; null: there is none."
    )
    values: list[SliceSummary]

    @property
    def lowest(self) -> SliceSummary | None:
        """The scores of the worst value."""
        return next((one for one in self.values if one.value == self.worst), None)


class CurvePoint(Part):
    """Out-of-fold scores of the folds, trained on a share of their training parts."""

    share: float
    images: float = Field(description="That a fold trained on, in the mean.")
    scores: dict[str, Estimate] = Field(description="With 95% intervals.")


class LawSummary(Part):
    """score = limit - factor n^-exponent with n training images; of a loss the negative."""

    limit: float
    factor: float
    exponent: float


class CurveSummary(Part):
    """Scores by the number of training images."""

    score: str = Field(description="What the law is of.")
    points: list[CurvePoint] = Field(description="Ascending; the last one is the run itself.")
    law: LawSummary | None = Field(description="Null where no power law fits well enough.")
    gain: Estimate | None = Field(
        description="What twice the images would add to the score, larger being better."
    )
    missing: dict[str, str] = Field(
        description="Why folds have failed whose share has no point, by their names."
    )


class Calibration(Part):
    """What a temperature makes of the probabilities."""

    temperature: float = Field(description="Of the registered model.")
    fitted_on: Literal["out-of-fold", "holdout"] = Field(
        "out-of-fold", description="Which predictions that temperature fits."
    )
    before: dict[str, Estimate] = Field(
        default_factory=dict,
        description="Out of fold in the view that the registered model has (--tta), without "
        "temperature; older files lack it.",
    )
    scores: dict[str, Estimate] = Field(
        description="The same, each fold's with the temperature that the others give."
    )


class EpochChoice(Part):
    """What choosing an epoch by the images that are scored gains; means over the folds."""

    rule: Literal["last", "best", "crossfit"] = Field(
        description="Which epoch's predictions the pooled scores are of (--choose-epoch)."
    )
    best: float = Field(description="Value of --select-by of each fold's best epoch: flatters.")
    last: float = Field(description="Of the last one.")
    crossfit: float | None = Field(
        description="Of the one that the other folds choose; null in what was a file of format 1."
    )


class CandidateSummary(Part):
    """A model that could be registered."""

    kind: str = Field(description="best-fold, ensemble, soup, refit or student.")
    members: int = Field(description="Networks that it asks.")
    evidence: str = Field(description="What its scores are of.")
    scores: Scores
    value: float | None = Field(description="Of --select-by.")


class Spread(Part):
    """Mean and sample standard deviation over the folds."""

    mean: float
    std: float


class MlflowIds(Part):
    """Where the run is in MLflow."""

    tracking_uri: str
    experiment_id: str
    parent_run: str


class Registered(Part):
    """The model that was registered."""

    name: str
    version: str
    alias: str
    kind: str = Field(description="That of one of the candidates.")
    why: str
    fold: int | None = Field(description="Of a best fold.")
    repeat: int | None


class Software(Part):
    """What the main job ran with."""

    system: str = Field(description="Operating system and processor, such as Linux x86_64.")
    python: str
    packages: dict[str, str] = Field(description="Versions of the packages that matter most.")


def finite(value: float) -> float | None:
    """The number, or None where it is none: JSON has no NaN."""
    return value if math.isfinite(value) else None
