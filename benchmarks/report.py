"""``RESULTS.md`` from the stored runs."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import picture, results
from benchmarks.inputs import FULL
from benchmarks.results import Entry, Results
from benchmarks.rows import Row, all_rows
from benchmarks.sides import Numbers

PLACES = {"cpu": "On a CPU", "gpu": "On a GPU"}
INTRO = """# Benchmarks

Written by `python -m benchmarks.run` from `results.json`; not edited by hand. A command is timed
from the start of its process to its exit, start-up and records in MLflow included, in an empty
folder of its own; what crossfold remembers of a machine (the fastest precision and layout for a
network) it has found out before, by `--plan`. The commands of a row alternate. Figures are medians
(least to greatest), values the median of the values of single runs.
"""
COUNTED = """Memory is sampled every 0.1 s and the greatest sample counts. RSS: resident pages, with
those shared with other processes (Ray's object store, libraries) in full; USS: the process's own.
Worker: a process whose title contains `RayTrainWorker`.
"""
_SHOWN = {
    "wall_s": ("", "{:.1f} s", 1),
    "frozen_s": ("", "{:.1f} s", 1),
    "images_per_s": ("", "{:.0f} images/s", 1),
    "accuracy": ("accuracy ", "{:.3f}", 1),
    "macro_f1": ("macro-F1 ", "{:.3f}", 1),
    "driver_rss": ("RSS ", "{:.0f} MB", 1e6),
    "driver_uss": ("USS ", "{:.0f} MB", 1e6),
    "worker_rss": ("RSS ", "{:.0f} MB", 1e6),
    "worker_uss": ("USS ", "{:.0f} MB", 1e6),
}


def publish(folder: Path) -> None:
    """Write the report and its picture from a folder's ``results.json`` and ``notes.md``."""
    found = results.read(folder / "results.json")
    drawn = picture.draw(found, folder / "RESULTS.png")
    notes = folder / "notes.md"
    text = render(found, notes.read_text(encoding="utf-8") if notes.exists() else "", drawn=drawn)
    (folder / "RESULTS.md").write_text(text, encoding="utf-8")


def render(found: Results, notes: str = "", *, drawn: bool = False) -> str:
    """The whole report.

    Parameters
    ----------
    found : Results
        Measured rows; others are listed as not yet measured.
    notes : str
        Text that ends the report.
    drawn : bool
        Whether the picture lies beside it.
    """
    machines = _machines(found)
    parts = [INTRO]
    if drawn:
        parts.append("![Wall time of the whole command](RESULTS.png)\n")
    parts.append(_machine_table(machines))
    parts += [_table(found, place, machines) for place in PLACES]
    parts += [COUNTED, *([notes.strip() + "\n"] if notes.strip() else [])]
    return "\n".join(parts)


def spread(values: Sequence[float], form: str = "{:.2f}") -> str:
    """Median, and the least and greatest of several values."""
    middle = form.format(statistics.median(values))
    if len(values) == 1:
        return middle
    least, greatest = (form.split(" ")[0].format(edge(values)) for edge in (min, max))
    return f"{middle} ({least} to {greatest})"


def _table(found: Results, place: str, machines: Sequence[dict[str, str]]) -> str:
    head = "| row | what was measured | runs | on | figures | value | target | |"
    lines = [f"## {PLACES[place]}\n", head, "|---" * 8 + "|"]
    for row in all_rows(FULL):
        entry = found.get(f"{place}/{row.name}")
        cells = _missing(row) if entry is None else _cells(row, entry, machines)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _missing(row: Row) -> list[str]:
    return [row.name, row.what, "0", "", "", row.formula, _target(row), "not yet measured"]


def _cells(row: Row, entry: Entry, machines: Sequence[dict[str, str]]) -> list[str]:
    values = [row.value(run) for run in entry.runs]
    form = f"{{:.1f}} {row.unit}" if row.unit else "{:.3f}" if _is_difference(row) else "{:.2f}"
    figures = "<br>".join(_figures(row, entry, side) for side in entry.sides)
    verdict = ""
    if row.target is not None:
        verdict = "met" if row.target.met(statistics.median(values)) else "**missed**"
    letter = _letter(machines.index(_machine(entry)))
    value = f"{row.formula}<br>**{spread(values, form)}**"
    return [
        row.name, entry.what, str(len(values)), letter, figures, value, _target(row), verdict,
    ]  # fmt: skip


def _is_difference(row: Row) -> bool:
    return row.target is not None and abs(row.target.value) < 0.1


def _figures(row: Row, entry: Entry, side: str) -> str:
    """One command's numbers: ``crossfold: 120.1 s (118.0 to 125.2)``."""
    texts = []
    for number in row.shown:
        name, form, unit = _SHOWN[number]
        values: list[Any] = [run[side][number] for run in entry.runs if number in run[side]]
        if values:
            texts.append(name + spread([value / unit for value in values], form))
    ways = sorted({_way(run[side]) for run in entry.runs if "precision" in run[side]})
    return f"{entry.sides[side]}: {', '.join([*texts, *ways])}"


def _way(numbers: Numbers) -> str:
    """What a trainer computed with."""
    layout = "channels-last" if numbers["channels_last"] else "channels-first"
    return f"{numbers['precision']} {layout}{' compiled' if numbers['compiled'] else ''}"


def _target(row: Row) -> str:
    if row.target is None:
        return "none"
    sign = {">=": "≥", "<=": "≤"}[row.target.sign]
    return f"{sign} {row.target.value:g}{' ' + row.unit if row.unit else ''}"


def _machine(entry: Entry) -> dict[str, str]:
    return {"date": entry.date, **entry.hardware, **entry.versions}


def _machines(found: Results) -> list[dict[str, str]]:
    """Every state of a machine that something was measured on, the oldest first."""
    distinct = {tuple(_machine(entry).items()) for entry in found.values()}
    return [dict(items) for items in sorted(distinct)]


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else str(index + 1)


def _machine_table(machines: Sequence[dict[str, str]]) -> str:
    """Hardware and versions, a column for each state."""
    if not machines:
        return "Nothing has been measured yet.\n"
    names = list(dict.fromkeys(name for machine in machines for name in machine))
    letters = [_letter(index) for index in range(len(machines))]
    lines = ["| measured on | " + " | ".join(letters) + " |", "|---" * (len(machines) + 1) + "|"]
    for name in names:
        lines.append(f"| {name} | " + " | ".join(m.get(name, "") for m in machines) + " |")
    return "\n".join(lines) + "\n"
