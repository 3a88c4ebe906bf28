"""A ranking of backbones: on the screen, and as a file."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from folds.config.scores import SCORES, TITLES
from folds.config.selection import SelectBy
from folds.errors import UserError, listed
from folds.evaluation.intervals import Interval
from folds.files import write_whole
from folds.model.names import FOLDER

_SHOWN = ("accuracy", "macro_f1")  # and what backbones are ranked by, with intervals


@dataclass(frozen=True)
class Ranked:
    """A backbone as a linear probe found it.

    Parameters
    ----------
    name : str
        As it was asked for.
    weights : str
        Their source, see `folds.model.weights.Pretrained`.
    by : str
        What backbones are ranked by, as ``--select-by`` says it.
    value : float
        Of that; larger is better.
    scores : mapping of str to Interval
        Of all out-of-fold predictions, by the names in `folds.config.scores.SCORES`.
    size : int
        Side of the network's input in pixels.
    features : int
        How many it gives.
    seconds : float
        Of a forward pass, for an image, on the worker's device, see `folds.training.features.Cost`.
    parameters : int
        Without a head.
    memory : int
        Bytes for one image, see `folds.training.features.Cost`.
    strengths : tuple of float
        L2 penalty chosen for each fold, see `folds.training.linear_probe`.
    behind : float
        How much the best one's value is larger.
    tied : bool
        Whether it cannot be told from the best: that one does not beat it as a candidate would
        have to beat a champion, see `folds.evaluation.gate.beats`. The best is tied with itself.
    why : str
        The figures of that comparison in one line; empty for the best.
    """

    name: str
    weights: str
    by: str
    value: float
    scores: Mapping[str, Interval]
    size: int
    features: int
    seconds: float
    parameters: int
    memory: int
    strengths: tuple[float, ...]
    behind: float = 0.0
    tied: bool = True
    why: str = ""

    @property
    def label(self) -> str:
        """The name with the last part alone of a file's or a folder's path."""
        name, sign, weights = self.name.partition("=")
        if self.name.startswith(FOLDER):
            return FOLDER + PurePath(self.name.removeprefix(FOLDER)).name
        return f"{name}{sign}{PurePath(weights).name}"


def print_ranking(console: Console, ranked: Sequence[Ranked]) -> None:
    """Show backbones, the best first, and which cannot be told from the best.

    Parameters
    ----------
    ranked : sequence of Ranked
        At least one, as `distributed.search.ranking.rank` gives them.
    """
    table = Table(title=f"linear probe, by {ranked[0].by}", title_justify="left")
    table.add_column("backbone", overflow="fold", min_width=16)
    by = SelectBy.parse(ranked[0].by).names
    shown = tuple(dict.fromkeys((*_SHOWN, *by)))
    for title in (*(TITLES[name] for name in shown), "ms", "params", "memory", "px"):
        table.add_column(title, justify="right")
    for one in ranked:
        figures = [_figure(one.scores[name], name in by) for name in shown]
        cost = f"{1e3 * one.seconds:.3g}", f"{one.parameters / 1e6:.1f} M"
        memory = f"{one.memory / 1e6:.0f} MB"
        same = " =" if one.tied and len(ranked) > 1 else ""
        name = escape(one.label.replace("=", "\n", 1))
        table.add_row(name + same, *figures, *cost, memory, str(one.size))
    console.print(table)
    for line in _lines(ranked):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _figure(score: Interval, with_ends: bool) -> str:
    ends = f"\n{score.low:.3f} to {score.high:.3f}" if with_ends else ""
    return f"{score.value:.3f}{ends}"


def _lines(ranked: Sequence[Ranked]) -> list[str]:
    best, *others = ranked
    tied = [one for one in others if one.tied]
    lines = ["intervals at 95%, over groups of images; ms and memory of one image; = like the best"]
    if tied:
        fastest = min((best, *tied), key=lambda one: one.seconds)
        alike = listed((one.label for one in tied), most=5)
        also = f"; the fastest of them is {fastest.label}" if fastest != best else ""
        lines.append(f"{best.label} cannot be told from {alike}{also}")
    elif others:
        lines.append(f"{best.label} is better than each of the others by more than noise")
    return lines


def to_json(ranked: Sequence[Ranked]) -> list[dict[str, Any]]:
    """The ranking as plain data, the best first; what is not a number is None."""
    return [_plain(one) for one in ranked]


def _plain(one: Ranked) -> dict[str, Any]:
    scores = {
        name: {end: _number(getattr(one.scores[name], end)) for end in ("value", "low", "high")}
        for name in SCORES
    }
    numbers = {name: getattr(one, name) for name in ("size", "features", "seconds", "parameters",
                                                     "memory")}  # fmt: skip
    return {
        "name": one.name, "weights": one.weights, "by": one.by, "value": _number(one.value),
        "behind": _number(one.behind), "tied": one.tied, "why": one.why, **numbers,
        "strengths": list(one.strengths), "scores": scores,
    }  # fmt: skip


def _number(value: float) -> float | None:
    return float(value) if abs(value) < float("inf") else None


def write_ranking(path: Path, ranked: Sequence[Ranked]) -> None:
    """Write a ranking as .json, see `to_json`, or as .csv with a column for each figure.

    Raises
    ------
    UserError
        The file is of another kind.
    OSError
        It cannot be written.
    """
    if path.suffix == ".json":
        write_whole(path, json.dumps(to_json(ranked), indent=2).encode())
    elif path.suffix == ".csv":
        write_whole(path, _csv(to_json(ranked)).encode())
    else:
        raise UserError(f"{path}: a ranking is written as .json or .csv; name it so")


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    flat = [
        {name: value for name, value in row.items() if name not in ("scores", "strengths")}
        | {
            name if end == "value" else f"{name}_{end}": value
            for name, score in row["scores"].items()
            for end, value in score.items()
        }
        for row in rows
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()
