"""The picture and the text of the scaling simulation."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.driver_load import DriverCost
from distributed.planning.cost import FINISH_S, RECORD_S, START_S

SHOWN = (1, 8, 32, 128, 1024)  # devices of the tables
_UNITS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
ENOUGH = 1.1  # scaling has stopped where the most devices are less than this factor faster


@dataclass(frozen=True)
class Point:
    """One setting, simulated several times.

    Parameters
    ----------
    images, tasks, devices : int
        Sizes; tasks are folds times repeats.
    batch_norm : bool
        Whether the backbone has batch norm, so that a fold has one worker.
    weather : str
        What goes wrong.
    seconds : tuple of float
        Wall time of each repetition, sorted.
    given_up : float
        Share of the repetitions in which a fold lost its workers more than twice.
    """

    images: int
    tasks: int
    devices: int
    batch_norm: bool
    weather: str
    seconds: tuple[float, ...]
    given_up: float

    @property
    def median(self) -> float:
        """Median wall time in seconds."""
        return statistics.median(self.seconds)


Color = tuple[float, float, float, float]
Curve = list[Point]  # of one setting, by devices, from 1


def curves(points: Iterable[Point], weather: str) -> dict[tuple[int, int, bool], Curve]:
    """Points of a weather by (images, tasks, batch norm)."""
    found: dict[tuple[int, int, bool], Curve] = {}
    for point in sorted(points, key=lambda point: point.devices):
        if point.weather == weather:
            found.setdefault((point.images, point.tasks, point.batch_norm), []).append(point)
    return found


def efficiency(point: Point, curve: Curve) -> float:
    """Speed-up over one device, by device."""
    return curve[0].median / point.median / point.devices


def enough(curve: Curve) -> Point:
    """The fewest devices that are nearly as fast as the most."""
    return next(point for point in curve if point.median <= ENOUGH * curve[-1].median)


def draw(points: Sequence[Point], weather: str, path: Path) -> None:
    """Draw time and efficiency against devices; a row of pictures for each number of images."""
    lines = curves(points, weather)
    sizes = sorted({images for images, _, _ in lines})
    tasks = sorted({count for _, count, _ in lines})
    shades = mpl.colormaps["viridis"]
    colors = {count: shades(0.85 * n / max(1, len(tasks) - 1)) for n, count in enumerate(tasks)}
    figure = Figure(figsize=(11, 4.2 * len(sizes) + 0.9), layout="constrained")
    axes = figure.subplots(len(sizes), 2, squeeze=False)
    for (images, count, norm), curve in lines.items():
        style = {"color": colors[count], "linestyle": "-" if norm else "--", "linewidth": 1.8}
        devices = [point.devices for point in curve]
        left, right = axes[sizes.index(images)]
        left.plot(devices, [point.median / 60 for point in curve], **style)
        low, high = ([point.seconds[end] / 60 for point in curve] for end in (0, -1))
        left.fill_between(devices, low, high, color=colors[count], alpha=0.12, linewidth=0)
        right.plot(devices, [100 * efficiency(point, curve) for point in curve], **style)
    for images, (left, right) in zip(sizes, axes, strict=True):
        _label(left, f"{images:,} images", "wall time (minutes)")
        _label(right, f"{images:,} images", "efficiency (% of linear)")
    figure.suptitle(f"Simulated: {weather} (line: median, band: all repetitions)")
    _legend(figure, colors)
    figure.savefig(path, dpi=130)


def _label(axis: Axes, title: str, what: str) -> None:
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xlabel("devices")
    axis.set_ylabel(what)
    axis.set_title(title, loc="left")
    for ticks in (axis.xaxis, axis.yaxis):
        ticks.set_major_formatter("{x:g}")
    axis.grid(alpha=0.3)


def _legend(figure: Figure, colors: dict[int, Color]) -> None:
    handles = [
        *(Line2D([], [], color=color, label=f"{n} folds") for n, color in colors.items()),
        Line2D([], [], color="black", label="batch norm: one device a fold"),
        Line2D([], [], color="black", linestyle="--", label="no batch norm: up to 8 a fold"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=9, frameon=False)


def times(points: Sequence[Point], weather: str) -> str:
    """Table of wall times: median, and least to most of the repetitions."""
    return _by_devices(
        curves(points, weather),
        lambda point, _: spread(point.seconds),
    )


def efficiencies(points: Sequence[Point], weather: str) -> str:
    """Table of efficiencies."""
    return _by_devices(
        curves(points, weather), lambda point, curve: f"{100 * efficiency(point, curve):.1f} %"
    )


def _by_devices(
    lines: dict[tuple[int, int, bool], Curve], cell: Callable[[Point, Curve], str]
) -> str:
    rows = []
    for (images, count, norm), curve in lines.items():
        cells = [cell(point, curve) for point in curve if point.devices in SHOWN]
        rows.append([f"{images:,}", str(count), _yes(norm), *cells])
    devices = sorted({p.devices for curve in lines.values() for p in curve if p.devices in SHOWN})
    return table(["images", "folds", "batch norm", *map(str, devices)], rows)


def ends(points: Sequence[Point], weather: str) -> str:
    """Table of where scaling stops."""
    rows = []
    for (images, count, norm), curve in curves(points, weather).items():
        last = enough(curve)
        fixed = START_S + FINISH_S + RECORD_S * min(count, last.devices)
        rows.append([
            f"{images:,}", str(count), _yes(norm), str(last.devices), duration(last.median),
            f"{curve[0].median / last.median:.1f}", f"{100 * fixed / last.median:.0f} %",
        ])  # fmt: skip
    return table(
        ["images", "folds", "batch norm", "devices", "wall time", "times faster than one",
         "start and finish"], rows,
    )  # fmt: skip


def weathers(points: Sequence[Point], images: int, tasks: int) -> str:
    """Table of medians by weather, for one size, with batch norm."""
    names = list(dict.fromkeys(point.weather for point in points))
    rows = []
    for name in names:
        curve = curves(points, name)[images, tasks, True]
        shown = [point for point in curve if point.devices in SHOWN]
        given_up = max(point.given_up for point in curve)
        rows.append([name, *(duration(p.median) for p in shown), f"{100 * given_up:.0f} %"])
    devices = [str(point.devices) for point in shown]
    return table(["what goes wrong", *devices, "runs given up, at worst"], rows)


def driver(cost: DriverCost, epochs: dict[int, float], lanes: int) -> str:
    """Table of the Ledger's load; `epochs` are seconds of a full epoch by number of images."""
    rows = []
    for images, seconds in epochs.items():
        for faster in (1, 10, 100):
            rate = lanes * faster / seconds
            rows.append([
                f"{images:,}", f"{faster} x", _digits(rate),
                f"{_digits(rate * cost.checkpoint_bytes / 1e6)} MB/s",
                f"{_digits(100 * rate * cost.seconds)} %",
            ])  # fmt: skip
    return table(["images", "device", "epochs/s", "checkpoints", "Ledger busy"], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, numbers to the right."""
    lines = [head, ["--:"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def duration(seconds: float) -> str:
    """A duration with two or three digits, such as ``4.2 min`` or ``18 µs``."""
    size, unit = _unit(seconds)
    return f"{_digits(seconds / size)} {unit}"


def spread(seconds: Sequence[float]) -> str:
    """Median, and the least and the most, such as ``4.2 min (3.9 to 5.0)``."""
    middle = statistics.median(seconds)
    low, high = (_digits(end / _unit(middle)[0]) for end in (min(seconds), max(seconds)))
    return f"{duration(middle)} ({low} to {high})"


def _unit(seconds: float) -> tuple[float, str]:
    return next(((size, unit) for size, unit in _UNITS if seconds >= size), _UNITS[-1])


def _digits(number: float) -> str:
    return f"{number:,.{1 if number < 10 else 0}f}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
