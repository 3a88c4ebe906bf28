"""A comparison on the terminal."""

from math import isnan

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from folds.evaluation.paired import Difference
from tracking.comparison.compare import Comparison, better
from tracking.comparison.formatting import (
    comparison_lines,
    conclusion,
    difference,
    interval,
    name_of,
)

_MOST_CLASSES = 20
_MOST_SLICES = 20


def show(console: Console, comparisons: list[Comparison]) -> None:
    """Print each comparison, and what follows in one sentence."""
    for scored in (comparisons[0].first, *(one.other for one in comparisons)):
        run = scored.evidence
        about = f"  {run.about}" if run.about else ""
        line = f"{scored.letter}  {run.name} ({run.run[:8]}){about}"
        console.print(line, markup=False, highlight=False)
    console.print()
    for one in comparisons:
        _show(console, one)
        console.print()
    console.print(conclusion(comparisons), style="bold", markup=False, highlight=False)


def _show(console: Console, comparison: Comparison) -> None:
    under_shift = [_under_shift(comparison)] if comparison.shift else []
    by_slice = [_slices(comparison)] if comparison.slices else []
    for table in (_scores(comparison), *under_shift, _classes(comparison), *by_slice):
        console.print(table)
        console.print()
    for line in comparison_lines(comparison):
        console.print(line, markup=False, highlight=False)


def _scores(comparison: Comparison) -> Table:
    table = _table(comparison, f"scores in hundredths, {comparison.confidence:.0%} intervals")
    for name, one in comparison.differences.pooled.items():
        row = [interval(run.scores.pooled[name]) for run in (comparison.first, comparison.other)]
        style = "bold" if name == comparison.metric else ""
        table.add_row(name_of(name), *row, _coloured(name, one), style=style)
    return table


def _under_shift(comparison: Comparison) -> Table:
    table = _table(comparison, "macro-F1 under shift")
    for name, one in comparison.shift.items():
        row = [interval(run.shift[name]) for run in (comparison.first, comparison.other)]
        table.add_row(name_of(name), *row, _coloured(name, one))
    return table


def _table(comparison: Comparison, title: str) -> Table:
    a, b = comparison.first.letter, comparison.other.letter
    table = _plain(title)
    table.add_column("score", no_wrap=True)
    for name in (a, b, f"{b} less {a}"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _plain(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )


def _classes(comparison: Comparison) -> Table:
    """Classes, or where there are many those of greatest difference."""
    a, b = comparison.first.letter, comparison.other.letter
    recall, f1 = (comparison.differences.per_class[name] for name in ("recall", "f1"))
    table = _plain("by class")
    table.add_column("class", overflow="ellipsis", no_wrap=True, max_width=14)
    for name in ("n", f"{a} recall", f"{b} less {a}", f"{a} F1", f"{b} less {a}"):
        table.add_column(name, justify="right", no_wrap=True)
    images = comparison.first.evidence.images
    order = np.argsort([-np.nan_to_num(abs(one.value)) for one in recall], kind="stable")
    own = comparison.first.scores.per_class
    for c in sorted(order[:_MOST_CLASSES].tolist()):
        table.add_row(
            escape(comparison.first.evidence.class_names[c]),
            str(images[c]),
            f"{100 * own['recall'][c].value:.1f}",
            _coloured("recall", recall[c]),
            f"{100 * own['f1'][c].value:.1f}",
            _coloured("f1", f1[c]),
        )
    if len(recall) > _MOST_CLASSES:
        table.caption = f"and {len(recall) - _MOST_CLASSES} classes that differ less: see --html"
    return table


def _slices(comparison: Comparison) -> Table:
    """Sites and slices, or where there are many those of greatest difference."""
    a, b = comparison.first.letter, comparison.other.letter
    table = _plain("accuracy by slice")
    for name in ("slice", "value"):
        table.add_column(name, overflow="ellipsis", no_wrap=True, max_width=14)
    for name in ("n", a, b, f"{b} less {a}"):
        table.add_column(name, justify="right", no_wrap=True)
    order = np.argsort([-abs(one.change.change) for one in comparison.slices], kind="stable")
    for place in sorted(order[:_MOST_SLICES].tolist()):
        one = comparison.slices[place]
        change = one.change
        values = (f"{100 * value:.1f}" for value in (change.before, change.after))
        names = (escape(change.column), escape(change.value))
        table.add_row(*names, str(one.images), *values, _coloured("accuracy", one.difference))
    if len(comparison.slices) > _MOST_SLICES:
        others = len(comparison.slices) - _MOST_SLICES
        table.caption = f"and {others} values that differ less: see --html"
    return table


def _coloured(name: str, one: Difference) -> Text:
    """Green or red where zero is not in the interval."""
    if one.low <= 0 <= one.high or isnan(one.value):
        return Text(difference(one))
    return Text(difference(one), style="green" if better(name, one.value) else "red")
