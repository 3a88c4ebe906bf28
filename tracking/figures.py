"""Pictures of a fold: confusion matrix and learning curves."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from folds.training.outcome import EpochReport

_COUNTED, _NAMED = 30, 60  # classes up to which a matrix has counts, and names
_LETTERS = 32  # of a name
_INK, _BLUE, _ORANGE = "#1f2430", "#2f6fb3", "#d9772b"


def confusion_figure(counts: NDArray[np.int64], names: Sequence[str], title: str) -> Figure:
    """Draw a confusion matrix: shares of each true class as colour, counts as numbers.

    Parameters
    ----------
    counts : ndarray of int64, shape (C, C)
        Rows are true classes.

    Notes
    -----
    Above 30 classes counts are left out, above 60 names, too; then a class takes a pixel or more up
    to 1,000 classes, and no picture has more than 2,200 pixels a side.
    """
    classes = len(names)
    side = max(4.0, 0.62 * classes + 2.4) if classes <= _COUNTED else 14.0
    if classes > _NAMED:
        side = min(max(8.0, classes / 80), 14.0)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if classes <= _COUNTED:
        _write_counts(axes, counts, shares)
    if classes <= _NAMED:
        words, style = [_short(name) for name in names], {"parse_math": False}  # a $ is a $
        axes.set_xticks(
            range(classes), words, rotation=40, ha="right", rotation_mode="anchor", **style
        )
        axes.set_yticks(range(classes), words, **style)
    unit = "" if classes <= _NAMED else ", by number"
    axes.set(xlabel=f"predicted{unit}", ylabel=f"true{unit}", title=title)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    return figure


def _write_counts(axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    for (row, column), count in np.ndenumerate(counts):
        if count:  # zeros would hide the pattern
            colour = "white" if shares[row, column] > 0.55 else _INK
            axes.text(column, row, str(count), ha="center", va="center", color=colour, size=9)


def _short(name: str) -> str:
    """A name as a tick can hold it: not too long, and of letters that can be drawn."""
    text = name.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"


def curves_figure(history: Sequence[EpochReport], kept_epoch: int, title: str) -> Figure:
    """Draw losses and validation scores over the epochs, with stage limits and the best epoch.

    Parameters
    ----------
    history : sequence of EpochReport
        An epoch each.
    """
    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    loss, score = figure.subplots(1, 2)
    epochs = [report.epoch + 1 for report in history]
    for axes, name, label, colour in (
        (loss, "train_loss", "training (smoothed, augmented)", _ORANGE),
        (loss, "val_loss", "validation", _BLUE),
        (score, "val_accuracy", "accuracy", _ORANGE),
        (score, "val_macro_f1", "macro-F1", _BLUE),
    ):
        axes.plot(
            epochs,
            [getattr(report, name) for report in history],
            color=colour,
            label=label,
            marker="o",
            ms=3,
        )
    for axes, name in ((loss, "loss"), (score, "validation score")):
        axes.axvline(kept_epoch + 1, color=_INK, lw=0.8, ls=":", label="kept epoch")
        limits = [b.epoch + 0.5 for a, b in pairwise(history) if a.stage != b.stage]
        for limit in limits:
            axes.axvline(limit, color="0.6", lw=1.5, label="_" * (limit > limits[0]) + "new stage")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel=name)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    figure.suptitle(title)
    return figure
