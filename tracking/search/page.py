"""The page of a search: one HTML file that needs nothing beside it."""

from pathlib import Path

import jinja2

from folds.files import output_file
from folds.pages.scale import Scale
from folds.pages.templates import environment
from tracking import formatting
from tracking.search import parts
from tracking.search.fields import fields, values_text
from tracking.search.figures import kind_of, race_figure
from tracking.search.measure import Measure
from tracking.search.parallel import COLOURS, MOST_AXES, parallel_figure
from tracking.search.summary import SearchSummary


def write_search_report(path: Path, summary: SearchSummary) -> None:
    """Write the page of a search.

    Parameters
    ----------
    path : Path
        Replaced if it is there.
    summary : SearchSummary
        What it does not know is left out.

    Raises
    ------
    RunError
        The file cannot be written.

    Notes
    -----
    The page loads nothing, from the network or from the disk; its one script scrolls to a section
    where links within a page lead nowhere. The same search makes the same bytes.
    """
    shown = parts.expectations(summary)
    page = _template().render(
        summary=summary,
        measure=Measure(summary.search_by),
        verdict=parts.verdict(summary),
        expectations=shown,
        expected_scale=parts.scale_of([one.estimate for one in shown]),
        cost=parts.cost_words(summary),
        audit=parts.audit_words(summary),
        cut=parts.is_cut(summary),
        race=race_figure(summary),
        legend=parts.race_legend(summary),
        parallel=parallel_figure(summary),
        colours=COLOURS,
        fields=fields(summary),
        most_axes=MOST_AXES,
        best=parts.best_rows(summary),
        settings=parts.told,
        times={name: formatting.duration(value) for name, value in summary.seconds.items()},
        marks=parts.marks(),
        kind_of=kind_of,
        class_of=parts.class_of,
    )
    with output_file(path) as scratch:
        scratch.write_text(page, encoding="utf-8")


def _template() -> jinja2.Template:
    templates = environment("tracking.search")
    templates.filters |= formatting.FILTERS
    templates.filters |= {"values_text": values_text, "place": Scale(0, 1).at}
    return templates.get_template("search.html.j2")
