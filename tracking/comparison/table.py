"""A comparison on the terminal."""

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from folds.evaluation.paired import Difference
from tracking.comparison.compare import Comparison, better
from tracking.comparison.formatting import (
    conclusion,
    difference,
    interval,
    name_of,
    settings,
    tests,
)

_MOST_CLASSES = 20


def show(console: Console, found: list[Comparison]) -> None:
    """Print each comparison, and what follows in one sentence."""
    for judged in (found[0].first, *(one.other for one in found)):
        run = judged.evidence
        about = f"  {run.about}" if run.about else ""
        line = f"{judged.letter}  {run.name} ({run.run[:8]}){about}"
        console.print(line, markup=False, highlight=False)
    console.print()
    for one in found:
        _show(console, one)
        console.print()
    console.print(conclusion(found), style="bold", markup=False, highlight=False)


def _show(console: Console, found: Comparison) -> None:
    for table in (_scores(found), *([_shifted(found)] if found.shift else []), _classes(found)):
        console.print(table)
        console.print()
    for line in (*settings(found), *tests(found)):
        console.print(line, markup=False, highlight=False)


def _scores(found: Comparison) -> Table:
    table = _table(found, f"scores in hundredths, {found.confidence:.0%} intervals")
    for name, one in found.differences.pooled.items():
        row = [interval(run.scores.pooled[name]) for run in (found.first, found.other)]
        style = "bold" if name == found.metric else ""
        table.add_row(name_of(name), *row, _coloured(name, one), style=style)
    return table


def _shifted(found: Comparison) -> Table:
    table = _table(found, "macro-F1 under shift")
    for name, one in found.shift.items():
        row = [interval(run.shift[name]) for run in (found.first, found.other)]
        table.add_row(name_of(name), *row, _coloured(name, one))
    return table


def _table(found: Comparison, title: str) -> Table:
    a, b = found.first.letter, found.other.letter
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


def _classes(found: Comparison) -> Table:
    """Classes, or where there are many those of greatest difference."""
    a, b = found.first.letter, found.other.letter
    recall, f1 = (found.differences.per_class[name] for name in ("recall", "f1"))
    table = _plain("by class")
    table.add_column("class", overflow="ellipsis", no_wrap=True, max_width=14)
    for name in ("n", f"{a} recall", f"{b} less {a}", f"{a} F1", f"{b} less {a}"):
        table.add_column(name, justify="right", no_wrap=True)
    images = found.first.evidence.images
    order = np.argsort([-np.nan_to_num(abs(one.value)) for one in recall], kind="stable")
    own = found.first.scores.per_class
    for c in sorted(order[:_MOST_CLASSES].tolist()):
        table.add_row(
            escape(found.first.evidence.class_names[c]),
            str(images[c]),
            f"{100 * own['recall'][c].value:.1f}",
            _coloured("recall", recall[c]),
            f"{100 * own['f1'][c].value:.1f}",
            _coloured("f1", f1[c]),
        )
    if len(recall) > _MOST_CLASSES:
        table.caption = f"and {len(recall) - _MOST_CLASSES} classes that differ less: see --html"
    return table


def _coloured(name: str, one: Difference) -> Text:
    """Green or red where zero is not in the interval."""
    if one.low <= 0 <= one.high or one.value != one.value:
        return Text(difference(one))
    return Text(difference(one), style="green" if better(name, one.value) else "red")
