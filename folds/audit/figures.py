"""Figures of the report: SVG that is part of the page and takes its colours and font."""

import io
import re
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray

_INK = "#010203"  # stands for the colour of the page's text
_STYLE: Any = {  # matplotlib's type names every key
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": 10,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}
_PALETTE = (
    "#3b7dd8", "#e8833a", "#35a36b", "#d64f6c", "#8a63d2", "#b98a1d", "#28a7b8", "#c45fb4",
    "#7d8a99", "#94b33b",
)  # fmt: skip
_CHANNELS = {"red": "#dc4c4c", "green": "#3aa55b", "blue": "#4a7fe0"}
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_LEGEND = 24  # classes that a legend can name


def palette(count: int) -> list[str]:
    """Colours of classes as ``#rrggbb``: ten well-known ones, or as many hues as are needed."""
    if count <= len(_PALETTE):
        return list(_PALETTE[:count])
    hues = mpl.colormaps["turbo"](np.linspace(0.04, 0.96, count))
    return [mpl.colors.to_hex(hue) for hue in hues]


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
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(11.5, 6.8), layout="constrained")
        axes = figure.subplots()
        handles, words = [], []
        for label, colour in enumerate(palette(len(names))):
            mine = places[(labels == label) & ~junk]
            dots = axes.scatter(mine[:, 0], mine[:, 1], s=15, c=colour, alpha=0.75, lw=0)
            if len(names) <= _LEGEND:
                handles.append(dots)
                words.append(names[label])
        if junk.any():
            crosses = places[junk]
            handles.append(
                axes.scatter(crosses[:, 0], crosses[:, 1], s=28, c=_INK, marker="x", lw=1.1)
            )
            words.append("junk")
        axes.set_axis_off()
        axes.margins(0.02)
        figure.legend(handles, words, loc="outside right upper", markerscale=1.8)
        return _svg(figure, "map")


def colour_figure(colours: Mapping[str, NDArray[np.float32]]) -> Markup:
    """Draw, for each class and channel, where the images' mean colours lie.

    Parameters
    ----------
    colours : mapping of str to ndarray of float32, shape (n, 3)
        Mean red, green and blue, 0 to 255, of the n images of each class.
    """
    with mpl.rc_context(_STYLE):
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
        axes.set_yticks(range(len(colours)), list(colours))
        axes.set(ylim=(len(colours) - 0.5, -0.5), xlabel="mean of an image, 0 to 255")
        axes.grid(axis="x", color=_INK, alpha=0.12)
        axes.spines["left"].set_visible(False)
        figure.legend(handles, list(_CHANNELS), loc="outside upper right", ncols=3)
        return _svg(figure, "colour")


def _svg(figure: Figure, name: str) -> Markup:
    """The figure as an element of a page, without a trace of where and when it was made."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):  # ids are unique in the page, and always the same
        figure.savefig(buffer, format="svg", transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return Markup(re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2))
