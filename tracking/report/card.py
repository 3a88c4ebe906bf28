"""The model card: what somebody must know who is given the model (after Mitchell et al. 2019)."""

import json
import re

import jinja2
from markupsafe import Markup

from folds.config.scores import TITLES
from folds.model.bundle import ModelCard
from folds.model.licence import licence_of
from tracking.report import parts
from tracking.summary import Estimate, Summary

FILE = "MODEL_CARD.md"
FEW = 30  # images of a class, below which its scores say little
_NAMES = {**TITLES, "ece": "calibration error (ECE)"}
_KINDS = {
    "best-fold": "the model of one fold, the one that scored best",
    "ensemble": "the mean of the probabilities of all folds' models",
    "soup": "one network whose weights are the mean of folds' models",
    "refit": "one model trained on all images",
}


def model_card(summary: Summary, bundle: ModelCard) -> str:
    """Write the card of the registered model.

    Parameters
    ----------
    summary : Summary
        The run, whose version in the registry need not be known.
    bundle : ModelCard
        What the bundle says of the model.

    Returns
    -------
    str
        Markdown with YAML in front, as the Hugging Face hub reads it.

    Notes
    -----
    Names of classes, sources and settings cannot become markup: they are escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tracking.report", ""),
        finalize=_plain,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"estimate": _estimate, "json": _json}
    counts = summary.class_images or {}
    cases = summary.oof_shift.cases if summary.oof_shift is not None else ()
    return environment.get_template("card.md.j2").render(
        summary=summary, bundle=bundle, elsewhere=parts.elsewhere(summary),
        licence=licence_of(bundle.backbone, summary.weights),
        rare=[name for name, count in counts.items() if count < FEW],
        worst=min(cases, key=lambda case: case.accuracy, default=None),
        names=_NAMES, kinds=_KINDS, few=FEW,
    )  # fmt: skip


def _plain(value: object) -> object:
    """Text of others as one line that Markdown and HTML take for text."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    escaped = re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", " ".join(value.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _json(value: object) -> Markup:
    """A value on one line of YAML or of code."""
    return Markup(json.dumps(value, ensure_ascii=False, default=str))


def _estimate(score: Estimate | float | None) -> str:
    """A score, with its interval if it has one."""
    value = score.value if isinstance(score, Estimate) else score
    if value is None:
        return "-"
    if isinstance(score, Estimate) and score.low is not None and score.high is not None:
        return f"{value:.3f} ({score.low:.3f} to {score.high:.3f})"
    return f"{value:.3f}"
