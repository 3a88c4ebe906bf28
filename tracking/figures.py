"""Pictures of a fold: confusion matrix and learning curves."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from folds.training.outcome import EpochReport

_INK, _BLUE, _ORANGE = "#1f2430", "#2f6fb3", "#d9772b"


def confusion_figure(counts: NDArray[np.int64], names: Sequence[str], title: str) -> Figure:
    """Draw a confusion matrix: shares of each true class as colour, counts as numbers.

    Parameters
    ----------
    counts : ndarray of int64, shape (C, C)
        Rows are true classes.
    """
    side = max(4.0, 0.62 * len(names) + 2.4)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= 30:
        for (row, column), count in np.ndenumerate(counts):
            if count:  # zeros would hide the pattern
                colour = "white" if shares[row, column] > 0.55 else _INK
                axes.text(column, row, str(count), ha="center", va="center", color=colour, size=9)
    axes.set_xticks(
        range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor", parse_math=False
    )
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    return figure


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
