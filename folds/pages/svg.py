"""Figures that are part of a page: SVG that takes the page's colours and font."""

import io
import re
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from folds.text import shown

INK, PAPER = "#010203", "#010204"  # stand for the colours of the page's text and background
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
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
_PALETTE = (
    "#3b7dd8", "#e8833a", "#35a36b", "#d64f6c", "#8a63d2", "#b98a1d", "#28a7b8", "#c45fb4",
    "#7d8a99", "#94b33b",
)  # fmt: skip


def palette(count: int) -> list[str]:
    """Colours of classes as ``#rrggbb``: ten well-known ones, or as many hues as are needed."""
    if count <= len(_PALETTE):
        return list(_PALETTE[:count])
    hues = mpl.colormaps["turbo"](np.linspace(0.04, 0.96, count))
    return [mpl.colors.to_hex(hue) for hue in hues]


def style() -> AbstractContextManager[None]:
    """The look of figures that are drawn meanwhile."""
    return mpl.rc_context(_STYLE)


def embed(figure: Figure, name: str, text: str = "") -> Markup:
    """The figure as an element of a page, without a trace of where and when it was made.

    Parameters
    ----------
    name : str
        Unique in the page: ids within the figure are made from it.
    text : str
        What the figure shows, for those who cannot see it.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):  # ids are unique in the page, and always the same
        figure.savefig(buffer, format="svg", transparent=True)
    svg = shown(buffer.getvalue())
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor").replace(PAPER, "var(--card)")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r"<[^>]*>", _shorter, svg)
    if text:
        svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(shown(text))}"', 1)
    return Markup(svg)


def _shorter(tag: re.Match[str]) -> str:
    """A tag without what HTML does not need, its numbers to a hundredth of a point.

    Groups lose their ids: nothing asks for them, and each figure has the same.
    """
    kept = re.sub(r' xmlns(:xlink)?="[^"]*"|(?<=^<g) id="[^"]*"', "", tag[0])
    return re.sub(r"(\d\.\d\d)\d+", r"\1", kept)
