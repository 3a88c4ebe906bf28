"""What a finished search tells: on the screen, and as the description of its run in MLflow."""

import shlex
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from folds.errors import counted
from tracking.formatting import markdown_text
from tracking.mlflow_pages import Pages, figure, table
from tracking.search import parts
from tracking.search.fields import values_text
from tracking.search.measure import Measure
from tracking.search.summary import SearchSummary, TrialSummary
from tracking.summary_parts import Estimate

_SHOWN = 5  # trials of the table


def print_search(console: Console, summary: SearchSummary, *, best_yaml: Path) -> None:
    """Show the best trials, what to expect, what it cost, and what to type next.

    Parameters
    ----------
    best_yaml : Path
        Where the winner's settings are.
    """
    titles, rows = _rows(summary)
    if rows:
        grid = Table(title="best trials", title_justify="left")
        for title in titles[:-1]:
            grid.add_column(Text(title), justify="right", no_wrap=True)
        for place, row in enumerate(rows):
            grid.add_row(*map(Text, row[:-1]), style="bold" if place == 0 else "")
        console.print(grid)
    lines = [f"trial {row[0]:<4}{row[-1]}" for row in rows] + _lines(summary)
    if summary.winner is not None:
        config = shlex.quote(str(best_yaml))
        lines.append(f"next      python -m distributed.cv --config {config}")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def markdown(summary: SearchSummary) -> str:
    """The search run's description in the MLflow UI: links, best trials, lines of the screen."""
    pages = Pages(summary.mlflow.experiment_id, summary.mlflow.parent_run)
    report = pages.run(pages.parent, "report.html")
    links = f"[report]({report}) · [trials side by side]({pages.folds})"
    titles, rows = _rows(summary)
    best = table([*map(markdown_text, titles)], [[*map(markdown_text, row)] for row in rows])
    lines = map(markdown_text, _lines(summary))
    return "\n\n".join([links, *([best] if rows else []), *lines])


def _rows(summary: SearchSummary) -> tuple[list[str], list[list[str]]]:
    """Titles and cells of the best trials."""
    measure, best = Measure(summary.search_by), parts.best_rows(summary, _SHOWN)
    titles = ["trial", measure.title, "95% interval", "less winner", "", "values that differ"]
    return titles, [
        [
            str(row.trial.number),
            figure(_turned(row.trial.mean, measure)),
            "" if row.estimate is None else _ends(row.estimate),
            *_against(row.trial, summary.winner, measure),
            values_text(
                {
                    field.name: row.trial.values[field.name]
                    for field in best.fields
                    if field.name in row.trial.values
                }
            ),
        ]
        for row in best.rows
    ]


def _against(trial: TrialSummary, winner: int | None, measure: Measure) -> tuple[str, str]:
    """The difference from the winner, and whether it is one."""
    if trial.number == winner:
        return "", "winner"
    value = None if trial.difference is None else trial.difference.value
    return _signed(_turned(value, measure)), "tied" if trial.tied else ""


def _lines(summary: SearchSummary) -> list[str]:
    """Scores, cost, stops and ties, a line each, for screen and MLflow."""
    if summary.winner is None:
        lines = [f"winner    none: no trial of {len(summary.trials)} has done all folds"]
    else:
        lines = [
            f"{one.name:<10}{one.title} {figure(one.estimate.value)}{_within(one.estimate)}, "
            f"{one.short}"
            for one in parts.expectations(summary)
        ]
    folds = f"{summary.folds_trained} of {counted(summary.folds_without_racing, 'fold')} trained"
    lines.append(f"cost      {folds}; {parts.cost_words(summary)}")
    if audit := parts.audit_words(summary):
        lines.append(f"stops     {audit}")
    if summary.winner is not None:
        lines.append(f"tied      {parts.tied_words(summary)}")
    return lines


def _turned(score: float | None, measure: Measure) -> float | None:
    return None if score is None else measure.turn * score


def _signed(difference: float | None) -> str:
    return "-" if difference is None else f"{difference:+z.3f}"


def _ends(estimate: Estimate) -> str:
    return f"{figure(estimate.low)} to {figure(estimate.high)}"


def _within(estimate: Estimate) -> str:
    return "" if estimate.low is None else f" ({_ends(estimate)})"
