"""The model card: what somebody must know who is given the model (after Mitchell et al. 2019)."""

import json
import re
import shlex

import jinja2
from markupsafe import Markup

from folds.config.scores import TITLES
from folds.evaluation.slices import FEWEST
from folds.model.bundle import ModelCard
from folds.model.licence import licence_of
from folds.model.mixture import MixtureCard
from tracking.formatting import markdown_text, sources
from tracking.report import parts
from tracking.report.unsure import unsure_words
from tracking.summary import Summary
from tracking.summary_parts import Estimate

FILE = "MODEL_CARD.md"
FEW = 30  # images of a class, below which its scores say little
_LINE, _ROWS = 300, 14  # letters of a line and rows of a table in a description
_IMPORTANT = (
    "", "Intended use and limits", "Scores", "When it is unsure", "Calibration", "How to use it",
    "Candidates", "Data", "Corrupted images", "Licence", "How it came about",
)  # fmt: skip
_NAMES = {**TITLES, "ece": "calibration error (ECE)"}
_KINDS = {
    "best-fold": "the model of one fold, the one that scored best",
    "ensemble": "the mean of the probabilities of the folds' models",
    "soup": "one network whose weights are the mean of folds' models",
    "refit": "one model trained on all images",
    "student": "one model trained on all images, with the folds' models as teachers",
}


def model_card(summary: Summary, bundle: ModelCard | MixtureCard) -> str:
    """Write the card of the registered model.

    Parameters
    ----------
    summary : Summary
        The run, whose version in the registry need not be known.
    bundle : ModelCard or MixtureCard
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
    environment.filters |= {
        "estimate": _estimate, "json": _json, "shell": _shell, "sources": sources,
    }  # fmt: skip
    counts = summary.class_images or {}
    cases = summary.oof_shift.cases if summary.oof_shift is not None else ()
    return environment.get_template("card.md.j2").render(
        summary=summary, bundle=bundle, parts=_parts(bundle), elsewhere=parts.elsewhere(summary),
        licence=_licence(bundle, summary.weights),
        rare=[name for name, count in counts.items() if count < FEW],
        worst=min(cases, key=lambda case: case.accuracy, default=None),
        unsure=unsure_words(summary), names=_NAMES, kinds=_KINDS, few=FEW, few_images=FEWEST,
    )  # fmt: skip


def _parts(bundle: ModelCard | MixtureCard) -> list[tuple[int, ModelCard]]:
    """The models that are averaged, with their weights."""
    if isinstance(bundle, ModelCard):
        return [(1, bundle)]
    return list(zip(bundle.weights, bundle.parts, strict=True))


def _licence(bundle: ModelCard | MixtureCard, weights: str) -> str | None:
    """The licences of all first weights, where each is stated."""
    parts, sources = _parts(bundle), weights.split(" + ")
    if len(sources) != len(parts):
        return None
    each = [licence_of(part.backbone, one) for (_, part), one in zip(parts, sources, strict=True)]
    stated = [one for one in each if one is not None]
    return " and ".join(sorted(set(stated))) if len(stated) == len(each) else None


def headline(summary: Summary) -> str:
    """What a model is and what it scores, in a line: all that a table of versions shows."""
    names = (("macro-F1", "macro_f1"), ("accuracy", "accuracy"))
    each = [f"{name} {_estimate(summary.oof_intervals[key])}" for name, key in names]
    return f"{', '.join(each)} out of fold: {summary.registered.kind}"


def description(card: str, most: int, first: str) -> str:
    """The most important parts of a card, as the description of a version in the registry.

    Parameters
    ----------
    card : str
        See `model_card`.
    first : str
        The line that it begins with, see `headline`.
    most : int
        Characters; as many parts as fit, in the card's order.

    Notes
    -----
    Never longer than `most`, whatever the number of classes: long lists and tables are cut, and
    parts left out from the least important on. The last line says where the whole card is.
    """
    end = f"\n\nThe whole card is {FILE} among the files of the model."
    head, *rest = re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.S).split("\n## ")
    parts = {"": f"{first}\n\n{_short(head.strip())}"} | {
        part.partition("\n")[0]: f"\n\n## {_short(part.strip())}" for part in rest
    }
    kept: set[str] = set()
    for name in sorted(parts, key=_rank):
        if sum(len(parts[one]) for one in (*kept, name)) + len(end) <= most:
            kept.add(name)
    return "".join(text for name, text in parts.items() if name in kept) + end


def _rank(part: str) -> int:
    return _IMPORTANT.index(part) if part in _IMPORTANT else len(_IMPORTANT)


def _short(part: str) -> str:
    """A part of a card with its long lines and long tables cut."""
    lines, rows = [], 0
    for line in part.splitlines():
        rows = rows + 1 if line.startswith("|") else 0
        if rows <= _ROWS:
            lines.append(line if len(line) <= _LINE else _cut(line))
        elif rows == _ROWS + 1:
            lines.append("| ... |")
    return "\n".join(lines)


def _cut(line: str) -> str:
    """The beginning of a line, up to the end of a word."""
    start = line[:_LINE].rpartition(" ")[0].rstrip(", ")
    return f"{start} ... |" if line.startswith("|") else f"{start} ..."


def _plain(value: object) -> object:
    """Text of others as one line that Markdown and HTML take for text."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return markdown_text(value)


def _json(value: object) -> Markup:
    """A value on one line of YAML or of code."""
    return Markup(json.dumps(value, ensure_ascii=False, default=str))


def _shell(value: str) -> Markup:
    """A word of a command line."""
    return Markup(shlex.quote(value))


def _estimate(score: Estimate | float | None) -> str:
    """A score, with its interval if it has one."""
    value = score.value if isinstance(score, Estimate) else score
    if value is None:
        return "-"
    if isinstance(score, Estimate) and score.low is not None and score.high is not None:
        return f"{value:.3f} ({score.low:.3f} to {score.high:.3f})"
    return f"{value:.3f}"
