"""A choice of an ensemble on the terminal."""

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from folds.config.scores import SCORES
from folds.evaluation.intervals import intervals
from folds.evaluation.predictions import Predictions
from tracking.comparison.formatting import interval, name_of
from tracking.ensembling.choice import Choice


def show(console: Console, choice: Choice, confidence: float) -> None:
    """Print the runs with scores and weights, the cross-fitted scores, and the test."""
    names = [name for name in SCORES if name in choice.select.names]
    table = Table(
        title=f"out of fold, in hundredths, {confidence:.0%} intervals",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column("run", overflow="ellipsis", no_wrap=True, max_width=48)
    table.add_column("weight", justify="right")
    for name in names:
        table.add_column(name_of(name), justify="right", no_wrap=True)

    def row(predictions: Predictions) -> list[str]:
        found = intervals(predictions, confidence=confidence).pooled
        return [interval(found[name]) for name in names]

    for number, (member, run) in enumerate(zip(choice.members, choice.runs, strict=True)):
        name = f"{member.evidence.name} ({member.run.info.run_id[:8]})"
        style = "bold" if number == choice.best else ""
        table.add_row(escape(name), str(choice.weights[number]), *row(run), style=style)
    table.add_section()
    table.add_row("best run alone, cross-fitted", "", *row(choice.alone))
    table.add_row("ensemble, cross-fitted", "", *row(choice.ensemble))
    console.print(table)
    console.print()
    console.print(choice.better.text, markup=False, highlight=False)
