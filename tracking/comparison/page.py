"""A comparison as one page that needs nothing beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import numpy as np
from markupsafe import Markup

from folds.evaluation.intervals import Interval
from folds.evaluation.paired import Difference
from folds.files import output_file
from folds.pages.templates import environment
from tracking.comparison.compare import Comparison, better
from tracking.comparison.figures import forest
from tracking.comparison.formatting import (
    comparison_lines,
    conclusion,
    difference,
    interval,
    name_of,
    verdict,
)

_MOST_DRAWN = 40  # classes in a plot; all are in the table


@dataclass(frozen=True)
class Cell:
    """A difference in words, and whether it is good, bad or neither."""

    text: str
    kind: str


@dataclass(frozen=True)
class Part:
    """A comparison as the page shows it.

    Parameters
    ----------
    comparison : Comparison
    verdict : str
        What follows, in plain words.
    tests : sequence of str
        Settings that differ and tests, a line each.
    plots : mapping of str to Markup
        By title.
    scores, shift : sequence of (str, str, str, Cell)
        Name, the two scores, their difference.
    classes : sequence of (str, int, str, Cell, str, Cell)
        Name, images, the first's recall, difference, the first's F1, difference.
    slices : sequence of (str, str, int, str, str, Cell)
        Column, value, images, the two accuracies, their difference.
    """

    comparison: Comparison
    verdict: str
    tests: Sequence[str]
    plots: Mapping[str, Markup]
    scores: Sequence[tuple[str, str, str, Cell]]
    shift: Sequence[tuple[str, str, str, Cell]]
    classes: Sequence[tuple[str, int, str, Cell, str, Cell]]
    slices: Sequence[tuple[str, str, int, str, str, Cell]]


def write_page(path: Path, comparisons: Sequence[Comparison]) -> None:
    """Write comparisons with the same first run as one HTML file.

    Parameters
    ----------
    path : Path
        Replaced if it is there.

    Raises
    ------
    RunError
        The file cannot be written.
    """
    page = (
        environment("tracking.comparison")
        .get_template("page.html.j2")
        .render(
            runs=[comparisons[0].first, *(one.other for one in comparisons)],
            conclusion=conclusion(comparisons),
            parts=[_part(one, number) for number, one in enumerate(comparisons)],
        )
    )
    with output_file(path) as scratch:
        scratch.write_text(page, encoding="utf-8")


def _part(comparison: Comparison, number: int) -> Part:
    first, other = comparison.first, comparison.other
    return Part(
        comparison,
        verdict(comparison),
        comparison_lines(comparison),
        _plots(comparison, number),
        _rows(first.scores.pooled, other.scores.pooled, comparison.differences.pooled),
        _rows(first.shift, other.shift, comparison.shift),
        _classes(comparison),
        _slices(comparison),
    )


def _rows(
    first: Mapping[str, Interval],
    other: Mapping[str, Interval],
    differences: Mapping[str, Difference],
) -> list[tuple[str, str, str, Cell]]:
    return [
        (name_of(name), interval(first[name]), interval(other[name]), _cell(name, one))
        for name, one in differences.items()
    ]


def _plots(comparison: Comparison, number: int) -> dict[str, Markup]:
    names = comparison.first.evidence.class_names
    per_class = comparison.differences.per_class
    order = np.argsort([-abs(np.nan_to_num(one.value)) for one in per_class["f1"]], kind="stable")
    chosen = sorted(order[:_MOST_DRAWN].tolist())
    plots: dict[str, dict[str, tuple[str, Difference]]] = {
        "Scores": {name_of(n): (n, one) for n, one in comparison.differences.pooled.items()},
        "Recall by class": {names[c]: ("recall", per_class["recall"][c]) for c in chosen},
        "F1 by class": {names[c]: ("f1", per_class["f1"][c]) for c in chosen},
        "Under shift": {name_of(n): (n, one) for n, one in comparison.shift.items()},
    }
    letters = f"{comparison.other.letter} less {comparison.first.letter}"
    defined = {
        title: {words: pair for words, pair in each.items() if not isnan(pair[1].value)}
        for title, each in plots.items()
    }
    return {
        title: forest(each, f"forest-{number}-{place}", f"{title}: {letters}, with intervals")
        for place, (title, each) in enumerate(defined.items())
        if each
    }


def _classes(comparison: Comparison) -> list[tuple[str, int, str, Cell, str, Cell]]:
    names, own = comparison.first.evidence.class_names, comparison.first.scores.per_class
    images = comparison.first.evidence.images
    recall, f1 = (comparison.differences.per_class[name] for name in ("recall", "f1"))
    return [
        (
            names[c], images[c],
            interval(own["recall"][c]), _cell("recall", recall[c]),
            interval(own["f1"][c]), _cell("f1", f1[c]),
        )
        for c in range(len(names))
    ]  # fmt: skip


def _slices(comparison: Comparison) -> list[tuple[str, str, int, str, str, Cell]]:
    return [
        (
            one.change.column, one.change.value, one.images,
            f"{100 * one.change.before:.1f}", f"{100 * one.change.after:.1f}",
            _cell("accuracy", one.difference),
        )
        for one in comparison.slices
    ]  # fmt: skip


def _cell(name: str, one: Difference) -> Cell:
    neither = isnan(one.value) or one.low <= 0 <= one.high
    return Cell(difference(one), "" if neither else "good" if better(name, one.value) else "bad")
