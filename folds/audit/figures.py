"""Figures of the report: SVG that is part of the page and takes its colours and font."""

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray

from folds.pages.svg import INK, embed, palette, style
from folds.text import shortened

_CHANNELS = {"red": "#dc4c4c", "green": "#3aa55b", "blue": "#4a7fe0"}
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_LEGEND = 24  # classes that a legend can name
_LETTERS = 40  # of a name that stands beside what is drawn


def map_figure(
    places: NDArray[np.float32],
    labels: NDArray[np.int64],
    junk: NDArray[np.bool_],
    names: tuple[str, ...],
) -> Markup:
    """Draw images as points coloured by class, junk as crosses.

    Parameters
    ----------
    places : ndarray of float32, shape (M, 2)
    labels : ndarray of int64, shape (M,)
    junk : ndarray of bool, shape (M,)
    """
    with style():
        figure = Figure(figsize=(11.5, 6.8), layout="constrained")
        axes = figure.subplots()
        handles, words = [], []
        for label, colour in enumerate(palette(len(names))):
            mine = places[(labels == label) & ~junk]
            dots = axes.scatter(mine[:, 0], mine[:, 1], s=15, c=colour, alpha=0.75, lw=0)
            if len(names) <= _LEGEND:
                handles.append(dots)
                words.append(shortened(names[label], _LETTERS))
        if junk.any():
            crosses = places[junk]
            handles.append(
                axes.scatter(crosses[:, 0], crosses[:, 1], s=28, c=INK, marker="x", lw=1.1)
            )
            words.append("junk")
        axes.set_axis_off()
        axes.margins(0.02)
        figure.legend(handles, words, loc="outside right upper", markerscale=1.8)
        return embed(figure, "map")


def colour_figure(colours: Mapping[str, NDArray[np.float32]]) -> Markup:
    """Draw, for each class and channel, where the images' mean colours lie.

    Parameters
    ----------
    colours : mapping of str to ndarray of float32, shape (n, 3)
        Mean red, green and blue, 0 to 255, of the n images of each class.
    """
    with style():
        figure = Figure(figsize=(11.5, 0.9 + 0.48 * len(colours)), layout="constrained")
        axes = figure.subplots()
        handles = []
        for channel, tint in enumerate(_CHANNELS.values()):
            spread = [np.quantile(one[:, channel], _QUANTILES) for one in colours.values()]
            low, left, middle, right, high = np.stack(spread, axis=1)
            height = np.arange(len(colours)) + (channel - 1) * 0.24
            axes.hlines(height, low, high, color=tint, lw=1.4, alpha=0.55)
            handles.append(axes.hlines(height, left, right, color=tint, lw=5, alpha=0.9))
            axes.scatter(middle, height, s=9, c="white", zorder=3, lw=0)
        axes.set_yticks(range(len(colours)), [shortened(name, _LETTERS) for name in colours])
        axes.set(ylim=(len(colours) - 0.5, -0.5), xlabel="mean of an image, 0 to 255")
        axes.grid(axis="x", color=INK, alpha=0.12)
        axes.spines["left"].set_visible(False)
        figure.legend(handles, list(_CHANNELS), loc="outside upper right", ncols=3)
        return embed(figure, "colour")
