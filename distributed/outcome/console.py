"""What a finished run tells: on the screen, and as the description of its run in MLflow."""

import shlex
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from distributed.run import say
from folds.evaluation.slices import FEWEST
from folds.training.outcome import FoldOutcome
from tracking.mlflow_pages import SHOWN, Pages, figure, table
from tracking.report.images import images_words
from tracking.report.parts import epoch_words
from tracking.report.unsure import unsure_words
from tracking.summary import Summary
from tracking.summary_parts import Estimate, ScoredOn, Scores, SlicesSummary

_MISSING = ("missing", *["-"] * len(SHOWN))


def print_summary(console: Console, summary: Summary, look: str) -> None:
    """Show the folds, their mean, the pooled scores, and what to type next.

    Parameters
    ----------
    look : str
        The command that shows the run in MLflow.
    """
    grid = _grid("out-of-fold scores")
    for fold in summary.folds:
        grid.add_row(fold.name, f"{fold.kept_epoch}/{fold.epochs}", *_row(fold.scores))
    for one in summary.missing:
        grid.add_row(one.name, *_MISSING)
    grid.add_section()
    spread = [summary.over_folds.get(key) for key in SHOWN]
    grid.add_row("mean", "", *(f"{s.mean:.3f}" if s else "-" for s in spread))
    grid.add_row("std", "", *(f"{s.std:.3f}" if s else "-" for s in spread))
    grid.add_row(_pooled(summary), "", *_row(summary.oof), style="bold")
    for end in ("low", "high"):
        ends = (getattr(summary.oof_intervals[key], end) for key in SHOWN)
        grid.add_row(f"95% {end}", "", *map(figure, ends))
    for name, scores in _other_views(summary):
        grid.add_row(name, "", *_row(scores))
    console.print(grid)
    for line in _lines(summary):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    model = summary.registered
    champion = shlex.quote(f"models:/{model.name}@champion")
    console.print(
        f"look      {look}\n"
        f"promote   python -m tracking.promote --model-name {shlex.quote(model.name)}\n"
        f"predict   python -m tracking.predict --model {champion} "
        "--data SOURCE --out preds.csv",
        highlight=False, soft_wrap=True, markup=False,
    )  # fmt: skip


def print_folds(
    console: Console,
    names: Sequence[str],
    outcomes: Mapping[int, FoldOutcome],
    missing: Mapping[int, str],
) -> None:
    """Show the folds of a run in which some have failed, each by itself.

    Parameters
    ----------
    names : sequence of str
        Of all tasks.
    outcomes : mapping of int to FoldOutcome
        Of the finished folds.
    missing : mapping of int to str
        Why there is no more of the other tasks.
    """
    grid = _grid("folds, each by itself")
    for task, name in enumerate(names):
        if (own := outcomes.get(task)) is None:
            grid.add_row(name, *_MISSING)
        else:
            scores = [figure(own.scores.get(key)) for key in SHOWN]
            grid.add_row(name, f"{own.kept_epoch + 1}/{len(own.history)}", *scores)
    console.print(grid)
    for task, cause in missing.items():
        say(console, f"missing   {names[task]}: {cause}")


def _grid(title: str) -> Table:
    grid = Table(title=title, title_justify="left")
    grid.add_column("fold")
    for name in ("epoch", *SHOWN.values()):
        grid.add_column(name, justify="right")
    return grid


def markdown(summary: Summary) -> str:
    """The parent run's description in the MLflow UI: links, the table, the lines of the screen."""
    pages = Pages(summary.mlflow.experiment_id, summary.mlflow.parent_run)
    rows = [
        [f"**{_pooled(summary)}**", "", *_row(summary.oof)],
        ["95% interval", "", *(_ends(summary.oof_intervals[key]) for key in SHOWN)],
        *([name, "", *_row(scores)] for name, scores in _other_views(summary)),
    ]  # first, since MLflow folds what follows away
    rows += [
        [fold.name, f"{fold.kept_epoch}/{fold.epochs}", *_row(fold.scores)]
        for fold in summary.folds
    ]
    rows += [[one.name, *_MISSING] for one in summary.missing]
    scores = table(["fold", "epoch", *SHOWN.values()], rows)
    return "\n\n".join([pages.links, scores, *_lines(summary)])


def _lines(summary: Summary) -> list[str]:
    """Calibration, corruptions, other images, the model: a line each, for screen and MLflow."""
    lines = [f"partial   {summary.partial}"] if summary.missing else []
    lines += [f"missing   {cause}" for cause in summary.causes]
    calibration = summary.calibration
    raw, mended = (part["ece"].value for part in (calibration.before, calibration.scores))
    fitted = ", that of the hold-out" if calibration.fitted_on == "holdout" else ""
    lines += [
        f"trust     calibration error {raw:.3f}, {mended:.3f} with temperature; the model's is "
        f"{calibration.temperature:.2f}{fitted}",
        f"epochs    {epoch_words(summary)}",
        *(f"unsure    {line}" for line in unsure_words(summary)),
    ]
    if (curve := summary.learning_curve) is not None:
        lines += [f"images    {line}" for line in images_words(curve)]
    if (shift := summary.oof_shift) is not None:
        lines.append(
            f"shift     {shift.images} images under {shift.corruptions} "
            f"corruptions: accuracy {shift.accuracy:.3f}, macro-F1 {shift.macro_f1:.3f}; worst "
            f"{shift.worst.replace('_', ' ')}, {shift.worst_macro_f1:.3f}"
        )
    lines += [_worst(column, own) for column, own in summary.slices.items()]
    lines += [f"external  {name}, {_tested(scored)}" for name, scored in summary.external.items()]
    if summary.holdout is not None:
        lines.append(f"hold-out  {_tested(summary.holdout)}; never used for choosing")
    model = summary.registered
    lines.append(
        f"model     {model.name} version {model.version} (alias {model.alias}) is the "
        f"{model.kind.replace('-', ' ')}: {model.why}"
    )
    return lines


def _worst(column: str, slices: SlicesSummary) -> str:
    """The worst value of a column."""
    worst, count = slices.lowest, len(slices.values)
    if worst is None:
        return (
            f"slices    none of {count} values of {column} has {FEWEST} images, so none is judged"
        )
    scores = (("macro-F1", worst.macro_f1), ("accuracy", worst.accuracy))
    figures = ", ".join(f"{name} {figure(one.value)} ({_ends(one)})" for name, one in scores)
    return (
        f"slices    {column}: of {count} {worst.value} is worst, {worst.images} images: {figures}"
    )


def _pooled(summary: Summary) -> str:
    """What the row of the pooled scores is called."""
    there = len(summary.folds)
    lost = sum(one.fold is not None for one in summary.missing)
    return f"{there} of {there + lost} pooled" if lost else "all pooled"


def _tested(scored: ScoredOn) -> str:
    each = (
        f"{scores.accuracy:.3f} ({_ends(scored.intervals[kind]['accuracy'])}) {kind}"
        for kind, scores in scored.models.items()
    )
    text = f"{scored.images} images: accuracy (95% interval) {', '.join(each)}"
    if not scored.absent:
        return text
    absent = (f"{share:.0%} {kind}" for kind, share in scored.absent.items())
    return f"{text}; taken for a class that is not there: {', '.join(absent)}"


def _other_views(summary: Summary) -> list[tuple[str, Scores]]:
    """Pooled scores in other views of the images, by names for people."""
    names = {
        "tta": f"TTA {summary.config['tta']}",
        "adapted": f"adapted ({summary.config['adapt']})",
        "augmented": "augmented",
    }
    return [(names[view], scores) for view, scores in summary.oof_other_views.items()]


def _row(scores: Scores) -> list[str]:
    return [figure(getattr(scores, key)) for key in SHOWN]


def _ends(estimate: Estimate) -> str:
    return f"{figure(estimate.low)} to {figure(estimate.high)}"
