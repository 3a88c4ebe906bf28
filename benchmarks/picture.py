"""``RESULTS.png``: wall time of whole commands, crossfold's beside the others'."""

import itertools
import statistics
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.inputs import FULL
from benchmarks.results import Results
from benchmarks.rows import all_rows

_INK, _BLUE, _GREY = "#1f2430", "#2f6fb3", "#b4bac4"


@dataclass(frozen=True)
class Bar:
    """Wall seconds of one command over its runs."""

    label: str
    seconds: tuple[float, ...]

    @property
    def middle(self) -> float:
        """Median."""
        return statistics.median(self.seconds)


def draw(found: Results, path: Path) -> bool:
    """Draw every group of bars that was measured; returns whether there were any."""
    groups = bars_by_group(found)
    if not groups:
        return False
    heights = [len(bars) + 0.9 for bars in groups.values()]
    figure = Figure(figsize=(8.0, 0.42 * sum(heights) + 0.9), layout="constrained")
    rows = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (title, bars) in zip(rows, groups.items(), strict=True):
        _draw_group(axes, title, bars)
    longest = max(max(bar.seconds) for bars in groups.values() for bar in bars)
    rows[-1].set(xlim=(0, 1.2 * longest), xlabel="seconds from start to exit (shorter is better)")
    figure.savefig(path, dpi=160)
    return True


def bars_by_group(found: Results) -> dict[str, list[Bar]]:
    """Bars by the title of their group, crossfold's first.

    Rows that timed the same work on one machine and day share a group, crossfold's bar is of all
    their runs.
    """
    groups: dict[str, dict[str, list[float]]] = {}
    charted = [row.name for row in all_rows(FULL) if row.charted]
    for place, name in itertools.product(("cpu", "gpu"), charted):
        if (entry := found.get(f"{place}/{name}")) is None:
            continue
        machine = entry.hardware["GPU" if place == "gpu" else "CPU"]
        what = entry.what.removeprefix("Whole command, ")
        title = f"{machine}, {entry.date}: {what}"
        bars = groups.setdefault(title, {})
        for side, label in entry.sides.items():
            bars.setdefault(label, []).extend(run[side]["wall_s"] for run in entry.runs)
    return {  # a run that several rows share counts once
        title: [Bar(label, tuple(dict.fromkeys(seconds))) for label, seconds in bars.items()]
        for title, bars in groups.items()
    }


def _draw_group(axes: Axes, title: str, bars: list[Bar]) -> None:
    colours = [_BLUE, *[_GREY] * (len(bars) - 1)]
    ours = bars[0].middle
    for row, (bar, colour) in enumerate(zip(bars, colours, strict=True)):
        spread = [[bar.middle - min(bar.seconds)], [max(bar.seconds) - bar.middle]]
        axes.barh(row, bar.middle, color=colour, height=0.68)
        if len(bar.seconds) > 1:
            axes.errorbar(bar.middle, row, xerr=spread, color=_INK, capsize=3, linewidth=1)
        ratio = "" if row == 0 else f"   {bar.middle / ours:.1f} x"
        axes.annotate(
            f"{bar.middle:.0f} s{ratio}", (max(bar.seconds), row), (8, 0), color=_INK,
            textcoords="offset points", va="center",
        )  # fmt: skip
    axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
    axes.set_title(title, loc="left", fontsize=8, color=_INK)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.tick_params(left=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
