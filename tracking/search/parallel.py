"""Parallel coordinates: each trial a line through its values, to its score."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.ticker import LogLocator, MaxNLocator

from folds.pages.svg import INK, PAPER, embed, style
from tracking.search.fields import ABSENT, Field, fields, varying
from tracking.search.figures import MANY, stretch
from tracking.search.importance import expected_means
from tracking.search.measure import Measure
from tracking.search.summary import SearchSummary, TrialSummary

MOST_AXES = 10
COLOURS = ("#e8833a", "#a9aeb6", "#3b7dd8")
"""Of the worst, the middle and the best trial."""
_BELOW, _UNUSED = -0.17, f"{ABSENT} not used"  # where lines pass an axis that is not theirs
_SPREAD = 0.05  # of lines at one level, so that one sees how many there are
_LETTERS = 14  # of a level


@dataclass(frozen=True)
class _Column:
    """An axis: its title, ticks by place from 0 to 1, and a place of each trial."""

    title: str
    ticks: Sequence[tuple[float, str]]
    places: Sequence[float]


def parallel_figure(summary: SearchSummary) -> Markup | None:
    """Draw the trials that have a score, the best ones on top.

    Returns
    -------
    Markup or None
        None if no field varies among them.

    Notes
    -----
    Of more than 10 fields the most important are drawn. A trial that was stopped is drawn at the
    mean that is expected of it, see `expected_means`.
    """
    means, measure = expected_means(summary.trials), Measure(summary.search_by)
    trials = sorted((t for t in summary.trials if t.number in means), key=lambda t: means[t.number])
    shown = varying(fields(summary), trials)[:MOST_AXES]
    if not shown:
        return None
    scores = [means[trial.number] for trial in trials]
    columns = [*(_column(field, trials) for field in shown), _score_column(scores, measure)]
    faint = 1.0 if len(trials) <= MANY else 0.6
    ranks = np.linspace(0, 1, len(trials)) if len(trials) > 1 else np.ones(1)
    colours = LinearSegmentedColormap.from_list("scores", COLOURS)(ranks)
    with style():
        figure = Figure(figsize=(10.4, 4.4), layout="constrained")
        axes = figure.subplots()
        for row, (trial, rank) in enumerate(zip(trials, ranks, strict=True)):
            places = [column.places[row] for column in columns]
            won = trial.number == summary.winner
            width, alpha = (3.2, 1.0) if won else (0.7 + 0.8 * rank, faint * (0.35 + 0.55 * rank))
            _draw(axes, places, tuple(colours[row][:3]), width, alpha, 3 if won else 1)
        for at, column in enumerate(columns):
            _draw_axis(axes, at, column)
        low = min(min(column.places) for column in columns)
        axes.set(xlim=(-0.25, len(columns) - 0.8), ylim=(low - 0.07, 1.07))
        axes.set_axis_off()
        names = ", ".join(field.name for field in shown)
        return embed(
            figure, "parallel", f"Values of {len(trials)} trials and their scores: {names}"
        )


def _column(field: Field, trials: Sequence[TrialSummary]) -> _Column:
    absent = any(field.name not in trial.values for trial in trials)
    ticks = _level_ticks(field) if field.levels else _number_ticks(field)
    if field.levels:
        spread = np.linspace(-1, 1, len(trials)) * min(_SPREAD, 0.3 / len(field.levels))
        where = [place for place, _ in ticks]
        own = [
            where[field.levels.index(field.of(trial))] + float(aside)
            if field.name in trial.values
            else _BELOW
            for trial, aside in zip(trials, spread, strict=True)
        ]
    else:
        values = (trial.values.get(field.name) for trial in trials)
        own = [_BELOW if value is None else _place(field, value) for value in values]
    return _Column(field.name, [*ticks, *([(_BELOW, _UNUSED)] if absent else [])], own)


def _level_ticks(field: Field) -> list[tuple[float, str]]:
    last = len(field.levels) - 1
    return [(at / last if last else 0.5, _short(level)) for at, level in enumerate(field.levels)]


def _number_ticks(field: Field) -> list[tuple[float, str]]:
    """Round values between the ends of a field's range."""
    locator = LogLocator() if field.log else MaxNLocator(4, integer=field.whole)
    values = [v for v in locator.tick_values(field.low, field.high) if field.low <= v <= field.high]
    if len(values) < 2:  # less than a decade
        values = [field.low, field.high]
    return [(_place(field, value), f"{value:.3g}") for value in values]


def _place(field: Field, value: float) -> float:
    """Where a number lies on its axis, from 0 to 1."""
    if field.low == field.high:
        return 0.5
    ends = np.array([field.low, value, field.high], float)
    low, own, high = np.log(ends) if field.log else ends
    return float((own - low) / (high - low))


def _score_column(scores: Sequence[float], measure: Measure) -> _Column:
    low, high = stretch(scores)
    locator = MaxNLocator(5)
    values = [value for value in locator.tick_values(low, high) if low <= value <= high]
    own = [(max(score, low) - low) / (high - low) for score in scores]
    ticks = [((value - low) / (high - low), measure.value(value)) for value in values]
    return _Column(measure.title, ticks, own)


def _draw(
    axes: Axes, places: Sequence[float], colour: tuple[float, ...], width: float, alpha: float,
    above: int,
) -> None:  # fmt: skip
    """One trial, a smooth line that is level where it meets an axis."""
    points, codes = [(0.0, places[0])], [Outline.MOVETO]
    for at in range(len(places) - 1):
        bends = [(at + 0.45, places[at]), (at + 0.55, places[at + 1])]
        points += [*bends, (at + 1.0, places[at + 1])]
        codes += [Outline.CURVE4] * 3
    line = Outline(points, codes)
    if above > 1:  # the winner stands out from what it crosses
        axes.add_patch(PathPatch(line, fill=False, ec=PAPER, lw=width + 2.4, zorder=above))
    axes.add_patch(PathPatch(line, fill=False, ec=colour, lw=width, alpha=alpha, zorder=above))


def _draw_axis(axes: Axes, at: int, column: _Column) -> None:
    axes.vlines(at, 0, 1, color=INK, lw=1.0, alpha=0.55, zorder=4)
    halo = {"facecolor": PAPER, "alpha": 0.82, "lw": 0, "pad": 0.8}
    for place, label in column.ticks:
        if place == _BELOW:
            axes.vlines(at, _BELOW, 0, color=INK, lw=1.0, alpha=0.35, ls=(0, (1, 2)), zorder=4)
            axes.text(at, _BELOW - 0.03, label, ha="center", va="top", size=8, zorder=5)
            continue
        axes.plot([at - 0.02, at + 0.02], [place, place], color=INK, lw=1.0, zorder=4)
        axes.text(
            at - 0.045, place, label, ha="right", va="center", size=8, bbox=halo, zorder=5,
            parse_math=False,
        )  # fmt: skip
    axes.text(
        at, 1.1, column.title.replace("_", "\n"), ha="center", va="bottom", size=9, weight="bold",
        parse_math=False,
    )  # fmt: skip


def _short(level: str) -> str:
    return level if len(level) <= _LETTERS else f"{level[: _LETTERS - 1]}…"
