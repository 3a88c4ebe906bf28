"""Figures of a run's page: learning curves, reliability, risk and coverage, map of features."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from folds.evaluation.calibration import Reliability
from folds.pages.svg import INK, PAPER, embed, palette, style
from folds.training.outcome import EpochReport
from tracking.decisions import AnswerPoint
from tracking.formatting import title
from tracking.report.visuals import FeatureMap
from tracking.summary_parts import FoldSummary

_BEFORE, _AFTER = "#e8833a", "#3b7dd8"
_FEW = 10  # folds that a legend names and that have strong lines
_History = Sequence[EpochReport]


def curves_figure(
    folds: Sequence[FoldSummary], histories: Sequence[_History], metric: str
) -> list[Markup]:
    """Draw losses, and the score that chooses the epoch, of all folds over the epochs.

    Parameters
    ----------
    folds : sequence of FoldSummary
        At least one.
    histories : sequence of sequences of EpochReport
        All epochs of each.
    metric : str
        accuracy, macro_f1 or loss; for any other macro_f1 is drawn.

    Returns
    -------
    list of Markup
        Losses and scores. With an average of the weights, the better of both sides is drawn.
    """
    metric = "accuracy" if metric == "accuracy" else "macro_f1"
    texts = {"loss": "Loss", metric: f"Validation {title(metric)}"}
    return [
        _curves(folds, histories, name, f"{text} over epochs, {len(folds)} folds")
        for name, text in texts.items()
    ]


def _curves(
    folds: Sequence[FoldSummary], histories: Sequence[_History], metric: str, text: str
) -> Markup:
    strength: dict[str, Any] = {"lw": 1.6} if len(folds) <= _FEW else {"lw": 0.8, "alpha": 0.7}
    with style():
        figure = Figure(figsize=(5.2, 3.5), layout="constrained")
        axes = figure.subplots()
        _draw_stages(axes, max(histories, key=len))
        for fold, history, colour in zip(folds, histories, palette(len(folds)), strict=True):
            epochs = np.arange(1, len(history) + 1)
            values = _better_side(history, metric)
            if metric == "loss":
                train = [report.train_loss for report in history]
                axes.plot(epochs, train, color=colour, lw=0.9, alpha=0.55, ls=(0, (4, 2)))
            axes.plot(epochs, values, color=colour, label=fold.name, **strength)
            best = fold.kept_epoch - 1
            axes.plot(epochs[best], values[best], "o", color=colour, ms=5.5, mec=PAPER, mew=0.8)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
        axes.grid(axis="y", color=INK, alpha=0.1, lw=0.7)
        axes.spines["left"].set_visible(False)
        axes.set(xlabel="epoch", ylabel=metric if metric == "loss" else title(metric))
        if metric != "loss":
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        if 1 < len(folds) <= _FEW:
            axes.legend(loc="upper right" if metric == "loss" else "lower right", fontsize=9)
        return embed(figure, f"curves-{metric}", text)


def _draw_stages(axes: Axes, history: _History) -> None:
    """A line where a stage begins, and the stages' names above."""
    begins = [0.5] + [
        after.epoch + 0.5 for before, after in pairwise(history) if before.stage != after.stage
    ]
    ends = [*begins[1:], len(history) + 0.5]
    if len(begins) == 1:
        return
    for number, (begin, end) in enumerate(zip(begins, ends, strict=True), 1):
        if number > 1:
            axes.axvline(begin, color=INK, lw=0.7, alpha=0.35)
        axes.text(
            (begin + end) / 2, 1.02, f"stage {number}" if end - begin > 1.5 else str(number),
            transform=axes.get_xaxis_transform(), ha="center", va="bottom", fontsize=8.5, alpha=0.7,
        )  # fmt: skip


def _better_side(history: _History, metric: str) -> list[float]:
    """Of each epoch the score of the weights or of their average, as it was chosen by."""
    choose = min if metric == "loss" else max
    sides = ([getattr(report, f"{side}_{metric}") for side in ("val", "ema")] for report in history)
    return [choose(value for value in side if value is not None) for side in sides]


def reliability_figure(trained: Reliability, tempered: Reliability, temperature: float) -> Markup:
    """Draw accuracy over confidence, before and after temperature, and how many lie where."""
    with style():
        figure = Figure(figsize=(5.2, 5.8), layout="constrained")
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
        axes.plot([0, 1], [0, 1], color=INK, lw=0.8, alpha=0.45, ls=(0, (4, 3)))
        sides = [
            (trained, _BEFORE, "as trained"),
            (tempered, _AFTER, f"temperature {temperature:.2f}"),
        ]
        for number, (bins, colour, label) in enumerate(sides):
            _draw_bins(axes, bins, colour, label)
            _draw_counts(below, bins, colour, number, len(sides))
        axes.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc="lower right")
        below.set(xlabel="confidence", ylabel="predictions", yscale="log", ylim=(0.8, None))
        below.yaxis.set_major_formatter("{x:,.0f}")
        below.minorticks_off()
        for panel in (axes, below):
            panel.grid(color=INK, alpha=0.08, lw=0.7)
            panel.spines["left"].set_visible(False)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        return embed(figure, "reliability", "Accuracy over confidence, and how often each occurs")


def risk_coverage_figure(points: Sequence[AnswerPoint]) -> Markup:
    """Draw the accuracy of the surest answers over their share, and what of it is sure."""
    shares = [point.answered for point in points]
    with style():
        figure = Figure(figsize=(5.2, 3.5), layout="constrained")
        axes = figure.subplots()
        accuracy, low = [point.accuracy for point in points], [point.low for point in points]
        axes.fill_between(shares, low, accuracy, color=_AFTER, alpha=0.15, lw=0)
        axes.plot(shares, accuracy, color=_AFTER, marker="o", ms=3.5, label="accuracy")
        axes.plot(shares, low, color=_AFTER, lw=0.9, ls=(0, (4, 2)), label="at least")
        axes.set(xlabel="images answered", ylabel="accuracy of them", xlim=(0, 1.02))
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(color=INK, alpha=0.08, lw=0.7)
        axes.spines["left"].set_visible(False)
        axes.legend(loc="lower left", fontsize=9)
        return embed(figure, "risk-coverage", "Accuracy of the surest answers over their share")


def _draw_bins(axes: Axes, bins: Reliability, colour: str, label: str) -> None:
    filled = bins.counts > 0
    confidence, accuracy = bins.confidence[filled], bins.accuracy[filled]
    sizes = 14 + 70 * np.sqrt(bins.counts[filled] / bins.counts.max())
    axes.plot(confidence, accuracy, color=colour, lw=1.4, label=label)
    axes.scatter(confidence, accuracy, s=sizes, color=colour, zorder=3, lw=0.8, ec=PAPER)


def _draw_counts(axes: Axes, bins: Reliability, colour: str, number: int, of: int) -> None:
    """Bars of one side, beside those of the other."""
    spans = np.diff(bins.edges)
    width = spans * 0.84 / of
    left = bins.edges[:-1] + spans * 0.08 + number * width
    axes.bar(left, bins.counts, width, align="edge", color=colour, lw=0)


def map_figure(points: FeatureMap, classes: int) -> Markup:
    """Draw images as points in the `palette` of their classes, mistakes ringed."""
    with style():
        figure = Figure(figsize=(7.6, 5.0), layout="constrained")
        axes = figure.subplots()
        for label, colour in enumerate(palette(classes)):
            _draw_dots(axes, points.places[points.labels == label], colour, 4.2)
        if points.wrong.any():
            wrong = points.places[points.wrong]
            axes.plot(wrong[:, 0], wrong[:, 1], "o", mfc="none", mec=INK, mew=0.6, ms=6)
        axes.set_axis_off()
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.02)
        text = f"Map of {len(points.places)} images, each a point coloured by its class"
        return embed(figure, "map", text)


def _draw_dots(axes: Axes, places: NDArray[np.float32], colour: str, size: float) -> None:
    """Points as one path, a round dot being a line without length: small in a page."""
    ends = np.repeat(places, 2, axis=0)
    codes = np.tile([Outline.MOVETO, Outline.LINETO], len(places))
    stroke: dict[str, Any] = {"capstyle": "round", "ec": colour, "lw": size, "alpha": 0.7}
    if len(places):
        outline = Outline(ends, codes)
        outline.should_simplify = False  # which would drop lines without length
        axes.add_patch(PathPatch(outline, fill=False, **stroke))
        axes.update_datalim(places)
        axes.autoscale_view()
