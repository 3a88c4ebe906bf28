"""Scores by the number of training images, as a figure and in words."""

from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from folds.config.scores import sign
from folds.evaluation.learning_curve import PowerLaw
from folds.pages.svg import INK, embed, palette, style
from tracking.formatting import SHARES, figure, points, title
from tracking.summary_parts import CurveSummary


def images_words(curve: CurveSummary) -> list[str]:
    """What more images are worth: sentences without full stops."""
    name = curve.score
    shown = [f"{figure(p.scores[name].value, name)} of {p.images:,.0f}" for p in curve.points]
    lines = [f"{title(name)} by training images: {', '.join(shown)}"]
    lines.append(_more(curve))
    lines += [
        f"{fold} failed, so its share has no point: {cause}"
        for fold, cause in curve.missing.items()
    ]
    return lines


def _more(curve: CurveSummary) -> str:
    """What twice the images would add, if that can be said."""
    gain = curve.gain
    if gain is None or gain.value is None:
        return "no power law is sure enough to say what more images would add"
    turn = sign(curve.score)
    value = points(turn * gain.value, curve.score)
    around = ""
    if gain.low is not None and gain.high is not None:
        ends = sorted((turn * gain.low, turn * gain.high))
        around = f" ({' to '.join(points(end, curve.score).split()[0] for end in ends)})"
    plus = "+" if turn > 0 else ""
    return f"twice the images: about {plus}{value}{around}, by a power law"


def images_figure(curve: CurveSummary) -> Markup:
    """Draw the score over training images, with its law up to twice of them."""
    name = curve.score
    number = np.array([point.images for point in curve.points])
    each = [point.scores[name] for point in curve.points]
    value, low, high = (
        np.array([getattr(one, end) for one in each], np.float64)
        for end in ("value", "low", "high")
    )
    colour, ticks = palette(1)[0], number.tolist()
    with style():
        drawn = Figure(figsize=(5.2, 3.5), layout="constrained")
        axes = drawn.subplots()
        axes.vlines(number, low, high, color=colour, lw=1.2, alpha=0.6)
        axes.plot(number, value, "o", color=colour, ms=5)
        if curve.law is not None:
            law, last = PowerLaw(**curve.law.model_dump()), number[-1]
            ticks.append(2 * last)
            look: dict[str, Any] = {"color": INK, "lw": 0.8, "alpha": 0.7}
            for ends, line in (((number[0], last), "-"), ((last, 2 * last), (0, (4, 3)))):
                along = np.geomspace(*ends, 50)
                axes.plot(along, sign(name) * law.at(along), ls=line, **look)
        axes.set(xscale="log", xlabel="training images", ylabel=title(name))
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:,.0f}")
        if name in SHARES:
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(axis="y", color=INK, alpha=0.1, lw=0.7)
        axes.spines["left"].set_visible(False)
        return embed(drawn, "images", f"{title(name)} over the number of training images")
