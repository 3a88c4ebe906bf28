"""``summary.json``: what a run was and what came out; its schema is docs/summary.schema.json."""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.table import Table

from folds.evaluate import mean_and_std

SHOWN = {"accuracy": "accuracy", "macro_f1": "macro-F1", "roc_auc": "AUC", "log_loss": "log loss"}


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
    beside: dict[str, Scores] = Field(
        description="The same in other views: tta with --tta, augmented with --val-augment."
    )
    measured: dict[str, float | None] = Field(
        description="On corrupted and external images, by the names of --select-by."
    )


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
    cases: list[Case]

    def flat(self) -> dict[str, float]:
        """The means, the worst, and each corruption's macro-F1."""
        means = {"accuracy": self.accuracy, "macro_f1": self.macro_f1, "worst": self.worst_macro_f1}
        for name in dict.fromkeys(case.corruption for case in self.cases):
            own = [case.macro_f1 for case in self.cases if case.corruption == name]
            means[name] = mean_and_std(own)[0]
        return means


class ScoredOn(_Part):
    """Scores on images that no fold has trained on."""

    images: int
    best_fold: Scores = Field(description="Of the best fold's model.")
    ensemble: Scores = Field(description="Of the mean of all folds' probabilities.")


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
    fold: int
    repeat: int


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
    oof_beside: dict[str, Scores] = Field(
        description="The same in other views: tta with --tta, augmented with --val-augment."
    )
    oof_shift: ShiftSummary | None = Field(
        description="Pooled, of corrupted validation images; null with --shift off."
    )
    holdout: ScoredOn | None = Field(
        description="On the test part, never used for choosing; null without --holdout."
    )
    external: dict[str, ScoredOn] = Field(description="On the sets of --external, by name.")
    mlflow: MlflowIds
    registered: Registered
    notices: list[str]
    seconds: dict[str, float] = Field(description="Wall time by phase.")


def to_scores(values: dict[str, float]) -> Scores:
    """Scores with null for what is not a number."""
    return Scores(**{n: None if v != v else v for n, v in values.items()})


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


def print_summary(console: Console, summary: Summary, names: list[str], look: str) -> None:
    """Show the folds, their mean, the pooled scores, and what to type next."""
    table = Table(title="out-of-fold scores", title_justify="left")
    table.add_column("fold")
    for name in ("best epoch", *SHOWN.values()):
        table.add_column(name, justify="right")
    for name, fold in zip(names, summary.folds, strict=False):
        table.add_row(name, f"{fold.best_epoch}/{fold.epochs}", *_row(fold.scores))
    table.add_section()
    spread = [summary.over_folds.get(key) for key in SHOWN]
    table.add_row("mean", "", *(f"{s.mean:.3f}" if s else "-" for s in spread))
    table.add_row("std", "", *(f"{s.std:.3f}" if s else "-" for s in spread))
    table.add_row("all pooled", "", *_row(summary.oof), style="bold")
    for name, scores in _named_beside(summary):
        table.add_row(name, "", *_row(scores))
    console.print(table)
    for line in _elsewhere(summary):
        console.print(line, highlight=False, soft_wrap=True)
    model = summary.registered
    console.print(
        f"model     {model.name} version {model.version} (alias {model.alias}) is the best fold\n"
        f"look      {look}\n"
        f"promote   python -m tracking.promote --model-name {model.name}\n"
        f"predict   python -m tracking.predict --model models:/{model.name}@champion "
        "--data SOURCE --out preds.csv",
        highlight=False, soft_wrap=True, markup=False,
    )  # fmt: skip


def markdown(summary: Summary, names: list[str]) -> str:
    """The parent run's description in the MLflow UI."""
    lines = ["| fold | best epoch | " + " | ".join(SHOWN.values()) + " |", "|---" * 6 + "|"]
    for name, fold in zip(names, summary.folds, strict=False):
        lines.append(f"| {name} | {fold.best_epoch} | " + " | ".join(_row(fold.scores)) + " |")
    lines.append("| **pooled** | | " + " | ".join(_row(summary.oof)) + " |")
    for name, scores in _named_beside(summary):
        lines.append(f"| {name} | | " + " | ".join(_row(scores)) + " |")
    lines += [f"\n{line}" for line in _elsewhere(summary)]
    model = summary.registered
    lines.append(f"\nBest fold registered as `{model.name}` version {model.version}.")
    return "\n".join(lines)


def _elsewhere(summary: Summary) -> list[str]:
    """A line for each other kind of images that models were scored on."""
    lines = []
    if (shift := summary.oof_shift) is not None:
        lines.append(
            f"shift     {shift.images} images under {len({c.corruption for c in shift.cases})} "
            f"corruptions: accuracy {shift.accuracy:.3f}, macro-F1 {shift.macro_f1:.3f}; worst "
            f"{shift.worst.replace('_', ' ')}, {shift.worst_macro_f1:.3f}"
        )
    lines += [f"external  {name}, {_tested(found)}" for name, found in summary.external.items()]
    if summary.holdout is not None:
        lines.append(f"hold-out  {_tested(summary.holdout)}; never used for choosing")
    return lines


def _tested(found: ScoredOn) -> str:
    return (
        f"{found.images} images: accuracy {found.best_fold.accuracy:.3f} (best fold), "
        f"{found.ensemble.accuracy:.3f} (folds averaged)"
    )


def _named_beside(summary: Summary) -> list[tuple[str, Scores]]:
    """Scores in other views, with names for people."""
    names = {"tta": f"pooled, TTA {summary.config['tta']}", "augmented": "pooled, augmented"}
    return [(names[view], scores) for view, scores in summary.oof_beside.items()]


def _row(scores: Scores) -> list[str]:
    values = [getattr(scores, key) for key in SHOWN]
    return ["-" if value is None else f"{value:.3f}" for value in values]
