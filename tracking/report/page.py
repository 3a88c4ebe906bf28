"""The page itself: one HTML file that needs nothing beside it."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import jinja2
from PIL import Image

from folds.config.scores import TITLES
from folds.evaluation.slices import FEWEST
from folds.files import output_file
from folds.pages.scale import Scale, scale
from folds.pages.svg import palette
from folds.pages.templates import environment
from tracking import formatting
from tracking.report import parts
from tracking.report.figures import (
    curves_figure,
    map_figure,
    reliability_figure,
    risk_coverage_figure,
)
from tracking.report.images import images_figure, images_words
from tracking.report.origin import computed_on, reproduce
from tracking.report.tradeoff_figure import tradeoff_figures
from tracking.report.unsure import other_sets, unsure_words
from tracking.report.visuals import Visuals
from tracking.summary import Summary
from tracking.summary_parts import CandidateSummary

_SHEET = 1400  # pixels of the augmentation sheet's width


def write_report(path: Path, summary: Summary, visuals: Visuals) -> None:
    """Write the page of a run.

    Parameters
    ----------
    path : Path
        Replaced if it is there.
    summary : Summary
        What is told in figures and words; what it does not know is left out.
    visuals : Visuals
        What is drawn.

    Raises
    ------
    RunError
        The file cannot be written.

    Notes
    -----
    The page loads nothing, from the network or from the disk; its one script scrolls to a section
    where links within a page lead nowhere. The same run makes the same bytes.
    """
    decision, curve = summary.decision, summary.learning_curve
    names, shift, chosen = summary.class_names, summary.oof_shift, _chosen(summary)
    page = _template().render(
        summary=summary,
        visuals=visuals,
        verdict=parts.verdict(summary),
        headlines=parts.headlines(summary),
        score_scale=parts.score_scale(summary.oof_intervals),
        epochs=parts.epoch_words(summary),
        elsewhere=parts.elsewhere(summary),
        chosen=chosen,
        fold_scale=scale([getattr(f.scores, chosen) for f in summary.folds], step=0.02),
        curves=curves_figure(summary.folds, visuals.histories, chosen),
        images=curve and images_figure(curve),
        images_words=curve and images_words(curve),
        confusion=parts.confusion(visuals.confusion, names),
        many=len(names) > parts.MANY,
        reliability=reliability_figure(
            visuals.trained, visuals.tempered, summary.calibration.temperature
        ),
        risk_coverage=risk_coverage_figure(decision.curve) if decision else None,
        unsure=unsure_words(summary),
        other_sets=other_sets(summary),
        classes=parts.weakest_first(summary.classes),
        tradeoffs=tradeoff_figures(visuals.tradeoffs, names),
        few_images=FEWEST,
        shift=parts.shift_table(shift.cases, shift.clean.macro_f1)
        if shift is not None and shift.clean is not None
        else None,
        sheet=_sheet(visuals.augmentation),
        map=map_figure(visuals.map, len(names)) if visuals.map else None,
        colours=palette(len(names)),
        command=reproduce(summary.config),
        computed_on=computed_on(summary),
    )
    with output_file(path) as scratch:
        scratch.write_text(page, encoding="utf-8")


def _template() -> jinja2.Template:
    templates = environment("tracking.report")
    templates.filters |= formatting.FILTERS
    templates.filters["scored"] = _scored
    templates.filters["place"] = Scale(0, 1).at
    return templates.get_template("page.html.j2")


def _scored(rows: Sequence[parts.ScoreRow | CandidateSummary]) -> list[str]:
    """Names of the scores that any of the rows has, in the usual order."""
    return [name for name in TITLES if any(name in row.scores.defined for row in rows)]


def _chosen(summary: Summary) -> str:
    """The score by which folds are drawn: that of --select-by, if it is one that all have."""
    metric: str = summary.config["select_by"]
    return metric if all(metric in fold.scores.defined for fold in summary.folds) else "accuracy"


def _sheet(picture: Image.Image) -> str:
    """A data URI of the augmentation sheet, no wider than it is shown."""
    image = picture.copy()  # what follows changes it in place
    image.thumbnail((_SHEET, 10 * _SHEET), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
