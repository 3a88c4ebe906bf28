"""The figure of what thresholds of classes trade."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from folds.arrays import Doubles
from folds.evaluation.tradeoffs import Tradeoff
from folds.pages.svg import INK, embed, palette, style
from folds.text import one_line, shortened

_LETTERS = 24  # of a name
_NAMED = 8  # classes with a colour and a name: those of least average precision


def tradeoff_figures(each: Sequence[Tradeoff | None], names: Sequence[str]) -> list[Markup]:
    """Draw ROC and precision-recall curves of all classes, the weakest in colour.

    Parameters
    ----------
    each : sequence of Tradeoff or None
        Of the classes; one of None is left out.

    Returns
    -------
    list of Markup
        Two figures; none where no class has curves.
    """
    short = [shortened(one_line(name), _LETTERS) for name in names]
    known = [(name, one) for name, one in zip(short, each, strict=True) if one is not None]
    known.sort(key=lambda pair: pair[1].average_precision)
    if not known:
        return []
    with style():
        roc, axes = _panel("false positives, of all other images", "true positives (recall)")
        for number, (name, one) in reversed([*enumerate(known)]):
            label = f"{one.roc_auc:.3f}  {name}"
            _curve(axes, one.false_positives, one.true_positives, number, label)
        _legend(axes, "lower right", "area")
        pr, axes = _panel("recall", "precision")
        for number, (name, one) in reversed([*enumerate(known)]):
            label = f"{one.average_precision:.3f}  {name}"
            _curve(axes, one.recall, one.precision, number, label)
        _legend(axes, "lower left", "AP")
        return [
            embed(roc, "roc", "ROC curves of the classes, each against the others"),
            embed(pr, "precision-recall", "Precision over recall of the classes"),
        ]


def _panel(across: str, up: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=across, ylabel=up, xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axes.grid(color=INK, alpha=0.08, lw=0.7)
    for side in (axes.xaxis, axes.yaxis):
        side.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure, axes


def _curve(axes: Axes, x: Doubles, y: Doubles, number: int, label: str) -> None:
    """Draw the curve of the class of this rank, the weakest being 0."""
    look: dict[str, Any] = {"color": INK, "lw": 0.7, "alpha": 0.25}
    if number < _NAMED:
        look = {"color": palette(_NAMED)[number], "lw": 1.5, "label": label}
    axes.plot(x, y, drawstyle="steps-post", **look)


def _legend(axes: Axes, place: Any, title: str) -> None:
    lines, labels = axes.get_legend_handles_labels()
    axes.legend(
        lines[::-1], labels[::-1], loc=place, fontsize=8.5, title=title, title_fontsize=8.5,
        alignment="left",
    )  # fmt: skip
