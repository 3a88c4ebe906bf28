"""The model card: what somebody must know who is given the model (after Mitchell et al. 2019)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import jinja2
from markupsafe import Markup

from folds.config.scores import TITLES
from folds.model.bundle import ModelCard
from tracking.report.facts import Estimate, Report, ShiftCase

FILE = "MODEL_CARD.md"
FEW = 30  # images of a class, below which its scores say little
_NAMES = {**TITLES, "ece": "calibration error (ECE)"}
_KINDS = {
    "best-fold": "the model of one fold, the one that scored best",
    "ensemble": "the mean of the probabilities of all folds' models",
    "soup": "one network whose weights are the mean of folds' models",
    "refit": "one model trained on all images",
}


@dataclass(frozen=True)
class CardFacts:
    """What a model card tells beside the page of its run; what is None or empty is left out.

    Parameters
    ----------
    kind : {"best-fold", "ensemble", "soup", "refit"}
        What the model is.
    name : str
        Of the registered model.
    bundle : ModelCard
        What the bundle says of it.
    weights : str
        Source of the first weights, as `folds.model.weights.Pretrained` has it.
    report : Report
        The run, whose version in the registry need not be known.
    licence : str, optional
        Of the first weights, see `folds.model.licence.licence_of`.
    counts : mapping of str to int
        Images of each class.
    groups : int, optional
        Of images that belong together (patient, slide), which no fold cuts.
    external : bool
        Whether ``report.elsewhere`` has images of another origin.
    why : str
        A sentence: why this model and no other candidate.
    """

    kind: str
    name: str
    bundle: ModelCard
    weights: str
    report: Report
    licence: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    groups: int | None = None
    external: bool = False
    why: str = ""

    @property
    def rare(self) -> list[str]:
        """Classes of fewer than `FEW` images."""
        return [name for name, count in self.counts.items() if count < FEW]

    @property
    def worst_case(self) -> ShiftCase | None:
        """The corruption under which the fewest images are right."""
        cases = self.report.shift.cases if self.report.shift is not None else ()
        return min(cases, key=lambda case: case.accuracy, default=None)


def model_card(facts: CardFacts) -> str:
    """Write the card as Markdown with YAML in front, as the Hugging Face hub reads it.

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
    template = environment.get_template("card.md.j2")
    return template.render(
        facts=facts, report=facts.report, run=facts.report.run, bundle=facts.bundle,
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


def _estimate(found: Estimate | float) -> str:
    """A score with its interval."""
    value = found if isinstance(found, float | int) else found.value
    if value != value:
        return "-"
    if isinstance(found, Estimate) and found.low is not None and found.high is not None:
        return f"{value:.3f} ({found.low:.3f} to {found.high:.3f})"
    return f"{value:.3f}"
