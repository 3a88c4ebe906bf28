"""Forest plots of differences: SVG that takes the page's colours and font."""

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from folds.config.scores import sign
from folds.evaluation.paired import Difference
from folds.pages.svg import INK, embed, style

_GOOD, _BAD = "#35a36b", "#d64f6c"


def forest(differences: Mapping[str, tuple[str, Difference]], name: str, text: str) -> Markup:
    """Draw differences and their intervals around zero, in points; right of it is better.

    Parameters
    ----------
    differences : mapping of str to (str, Difference)
        The score's name and its difference, by the words beside its line. Of losses the
        difference is turned round.
    name : str
        Unique in the page, whose figures share one space of ids.
    text : str
        What the figure shows, for those who cannot see it.
    """
    with style():
        figure = Figure(figsize=(4.6, 0.72 + 0.25 * len(differences)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color=INK, lw=0.8, alpha=0.6)
        for row, (score, one) in enumerate(differences.values()):
            low, value, high = sorted(100 * sign(score) * np.array([one.low, one.value, one.high]))
            colour = _GOOD if low > 0 else _BAD if high < 0 else INK
            faint = 0.55 if colour == INK else 1.0
            axes.hlines(row, low, high, color=colour, lw=2.2, alpha=faint)
            axes.plot(value, row, "o", ms=5.5, color=colour, alpha=faint, mew=0)
        axes.set_yticks(range(len(differences)), [_short(words) for words in differences])
        axes.set(ylim=(len(differences) - 0.4, -0.6), xlabel="points; to the right is better")
        axes.grid(axis="x", color=INK, alpha=0.1)
        axes.spines["left"].set_visible(False)
        return embed(figure, name, text)


def _short(words: str, most: int = 22) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"
