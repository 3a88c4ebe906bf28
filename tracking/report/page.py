"""The page itself: one HTML file that needs nothing beside it."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup
from PIL import Image

from folds.config.scores import LOSSES, TITLES
from folds.files import replacing
from folds.pages.svg import palette
from folds.pages.templates import environment
from tracking.report import formatting, parts
from tracking.report.facts import Candidate, Fold, Report, ScoreRow, Scores
from tracking.report.figures import curves_figure, map_figure, reliability_figure

_SHEET = 1400  # pixels of the augmentation sheet's width


def write_report(path: Path, facts: Report) -> None:
    """Write the page of a run.

    Parameters
    ----------
    path : Path
        Replaced if it is there.
    facts : Report
        What is None or empty is left out.

    Raises
    ------
    RunError
        The file cannot be written.

    Notes
    -----
    The page loads nothing, from the network or from the disk, and runs no script. The same facts
    make the same bytes.
    """
    page = _template().render(
        facts=facts,
        run=facts.run,
        verdict=parts.verdict(facts),
        headlines=parts.headlines(facts),
        score_scale=_score_scale(facts.scores),
        fold_scale=_fold_scale(facts),
        chosen=_chosen(facts),
        gap=parts.gap_words(facts),
        curves=_curves(facts),
        confusion=_confusion(facts),
        many=len(facts.run.class_names) > parts.MANY,
        reliability=reliability_figure(facts.calibration) if facts.calibration else None,
        classes=parts.weakest_first(facts.classes),
        shift=parts.shift_table(facts.shift) if facts.shift else None,
        sheet=_sheet(facts.augmentation),
        map=map_figure(facts.map, len(facts.run.class_names)) if facts.map else None,
        colours=palette(len(facts.run.class_names)),
    )
    with replacing(path) as scratch:
        scratch.write_text(page, encoding="utf-8")


def _template() -> jinja2.Template:
    found = environment("tracking.report")
    for change in (
        formatting.figure,
        formatting.interval,
        formatting.title,
        formatting.points,
        formatting.duration,
    ):
        found.filters[change.__name__] = change
    found.filters["scored"] = _scored
    found.filters["place"] = parts.Scale(0, 1).at
    return found.get_template("page.html.j2")


def _scored(rows: Sequence[ScoreRow | Candidate]) -> list[str]:
    """Names of the scores that any of the rows has, in the usual order."""
    return [name for name in TITLES if any(name in row.scores for row in rows)]


def _score_scale(scores: Scores) -> parts.Scale:
    """For the scores that have 1 as their best."""
    found = [one for name, one in scores.items() if name not in LOSSES]
    return parts.scale(parts.ends(found))


def _chosen(facts: Report) -> str:
    """The score by which folds are drawn side by side."""
    metric = facts.gap.metric if facts.gap is not None else "macro_f1"
    return metric if all(metric in fold.scores for fold in facts.folds) else "accuracy"


def _fold_scale(facts: Report) -> parts.Scale:
    return parts.scale([fold.scores.get(_chosen(facts)) for fold in facts.folds], step=0.02)


def _curves(facts: Report) -> list[Markup]:
    folds: Sequence[Fold] = [fold for fold in facts.folds if fold.history]
    return curves_figure(folds, _chosen(facts)) if folds else []


def _confusion(facts: Report) -> parts.Confusion | None:
    if facts.confusion is None:
        return None
    return parts.confusion(facts.confusion, facts.run.class_names)


def _sheet(picture: Path | bytes | None) -> str | None:
    """A data URI of the augmentation sheet, no wider than it is shown."""
    if picture is None:
        return None
    content = picture if isinstance(picture, bytes) else picture.read_bytes()
    with Image.open(io.BytesIO(content)) as found:
        image = found.convert("RGB")
    image.thumbnail((_SHEET, 10 * _SHEET), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
