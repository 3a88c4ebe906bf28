"""Figures of a search's page: the race of its trials over the folds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from folds.pages.svg import INK, PAPER, embed, style
from tracking.search.importance import floor_of
from tracking.search.measure import Measure
from tracking.search.summary import SearchSummary, TrialSummary

LOOKS: dict[str, dict[str, Any]] = {
    "winner": {"color": "#3b7dd8", "lw": 2.8, "zorder": 6},
    "cannot be told from it": {"color": "#28a7b8", "lw": 1.3, "zorder": 5},
    "complete": {"color": INK, "lw": 1.0, "alpha": 0.42, "zorder": 4},
    "stopped": {"color": "#e8833a", "lw": 1.0, "alpha": 0.85, "zorder": 3},
    "stopped, finished anyway": {
        "color": "#8a63d2", "lw": 1.2, "ls": (0, (4, 2)), "alpha": 0.9, "zorder": 3,
    },
    "failed": {"color": "#d64f6c", "lw": 1.0, "alpha": 0.9, "zorder": 3},
    "unfinished": {"color": INK, "lw": 0.8, "alpha": 0.3, "ls": (0, (1, 2)), "zorder": 2},
}  # fmt: skip
"""How a kind of trial is drawn, by what a legend calls it."""
_MARKS: dict[str, dict[str, Any]] = {
    "winner": {"marker": "o", "ms": 7},
    "stopped": {"marker": "|", "ms": 9, "mew": 1.8},
    "failed": {"marker": "x", "ms": 6, "mew": 1.8},
}
_DOT: dict[str, Any] = {"marker": "o", "ms": 3.2, "mew": 0}
MANY = 60  # trials beyond which lines are fainter
_NAMED = 10  # folds that are named


def kind_of(trial: TrialSummary, winner: int | None) -> str:
    """What a legend calls a trial, one of `LOOKS`."""
    if trial.number == winner:
        return "winner"
    if trial.audited:
        return "stopped, finished anyway"
    if trial.state == "complete" and trial.tied:
        return "cannot be told from it"
    return trial.state


def race_figure(summary: SearchSummary) -> Markup | None:
    """Draw the mean score of each trial after each fold; what is better is above.

    Returns
    -------
    Markup or None
        None if no trial has a score.

    Notes
    -----
    Trials far below the rest, such as those that diverged, are drawn at the lower edge.
    """
    measure, runs = Measure(summary.search_by), [t for t in summary.trials if t.running]
    if not runs:
        return None
    low, high = stretch([score for trial in runs for score in trial.running])
    with style():
        figure = Figure(figsize=(10.4, 4.7), layout="constrained")
        axes = figure.subplots()
        axes.set_ylim(low, high)
        for trial in runs:
            means = [max(mean, low) for mean in trial.running]
            _draw(axes, means, kind_of(trial, summary.winner), len(runs) > MANY)
            if trial.number == summary.winner:
                axes.annotate(
                    f"trial {trial.number}", (len(means), means[-1]), (9, 0), color="#3b7dd8",
                    textcoords="offset points", va="center", weight="bold", annotation_clip=False,
                )  # fmt: skip
        _name_folds(axes, summary.folds)
        score_axis(axes, measure)
        axes.grid(axis="y", color=INK, alpha=0.1, lw=0.7)
        axes.spines["left"].set_visible(False)
        axes.set(xlabel="folds, as they were trained one after another", ylabel=measure.title)
        text = f"Mean {measure.title} of {len(runs)} trials over {len(summary.folds)} folds"
        return embed(figure, "race", text)


def _draw(axes: Axes, means: Sequence[float], kind: str, many: bool) -> None:
    look = dict(LOOKS[kind])
    if many and kind != "winner":
        look |= {"lw": 0.6 * look["lw"], "alpha": 0.7 * look.get("alpha", 1.0)}
    done = np.arange(1, len(means) + 1)
    axes.plot(done, means, solid_capstyle="round", clip_on=False, **look)
    mark = _MARKS.get(kind, _DOT)
    end = {name: look[name] for name in ("color", "zorder")}
    edge: dict[str, Any] = {"mec": PAPER, "mew": 1.2} if kind == "winner" else {}
    alpha = 0.45 if many and kind != "winner" else 0.9
    axes.plot(done[-1:], means[-1:], clip_on=False, alpha=alpha, **end, **mark, **edge)


def _name_folds(axes: Axes, names: Sequence[str]) -> None:
    count = len(names)
    axes.set_xlim(0.8, count + 0.25 if count > 1 else 1.2)
    if count <= _NAMED:
        axes.set_xticks(range(1, count + 1), names, parse_math=False)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))


def stretch(scores: Sequence[float]) -> tuple[float, float]:
    """The part of the axis of scores that is drawn: all of them but what is far below."""
    values = np.array(scores)
    low, high = floor_of(values), float(values.max())
    room = 0.06 * (high - low) or 0.01
    return low - room, high + room


def score_axis(axes: Axes, measure: Measure) -> None:
    """Write the scores of the axis as people know them."""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda score, _: measure.value(score)))
