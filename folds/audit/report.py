"""The report of an audit: one page that needs nothing beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from markupsafe import Markup

from folds.audit.clusters import disagree, duplicate_clusters
from folds.audit.embedding import image_map
from folds.audit.figures import colour_figure, map_figure
from folds.audit.findings import Findings
from folds.audit.galleries import cluster_gallery, junk_gallery, suspect_gallery
from folds.audit.marks import marks
from folds.audit.overview import overview, remedies
from folds.audit.statistics import Statistics, statistics
from folds.audit.suspects import Suspects
from folds.files import output_file
from folds.images import ImageSet
from folds.images.relabel import NewLabel
from folds.pages.templates import environment
from folds.pages.thumbs import thumb

_MOST_CLASSES = 40
_MOST_SIZES = 8
Sizes = Sequence[tuple[tuple[int, int], int]]


@dataclass(frozen=True)
class ClassCard:
    """What a class looks like.

    Parameters
    ----------
    good, junk : int
        Images of it.
    picture : str
        Data URI of its mean image.
    colour : str
        Its mean colour, for CSS.
    channels : tuple of str
        Mean and standard deviation of red, green and blue.
    """

    name: str
    good: int
    junk: int
    picture: str
    colour: str
    channels: tuple[str, ...]


@dataclass(frozen=True)
class MapChart:
    """A map, and how many images are on it."""

    chart: Markup
    count: int


def write_report(
    path: Path,
    sources: Sequence[str],
    images: ImageSet,
    findings: Findings,
    sizes: Sizes,
    suspects: Suspects | None = None,
    earlier: Mapping[str, NewLabel] = MappingProxyType({}),
) -> None:
    """Write the report as one HTML file.

    Parameters
    ----------
    path : Path
        Replaced if it is there.
    sources : sequence of str
        Where the images are from, as the user said it.
    sizes : sequence of ((width, height), int)
        The images' own sizes in pixels, and how many have them.
    suspects : Suspects, optional
        Labels that are likely wrong.
    earlier : mapping of str to NewLabel
        New labels that the images have already, by id.

    Raises
    ------
    RunError
        The file cannot be written.

    Notes
    -----
    The page loads nothing, from the network or from the disk. Its one script lets people mark what
    suspect images are, and save that as a file for ``--relabel``; without it all else is there.
    """
    counts = overview(images, findings)
    clusters = duplicate_clusters(images, findings)
    mixed = [rows for rows in clusters if disagree(images, rows)]
    alike = [rows for rows in clusters if not disagree(images, rows)]
    measured = statistics(images, ~findings.junk)
    gallery = suspect_gallery(images, findings, suspects) if suspects is not None else None
    template = environment("folds.audit").get_template("report.html.j2")
    page = template.render(
        source=" ".join(sources),
        counts=counts,
        remedies=remedies(sources, counts),
        notices=(*images.notices, *findings.notices),
        conflicts=cluster_gallery(images, findings, mixed),
        duplicates=cluster_gallery(images, findings, alike),
        junk=junk_gallery(images, findings),
        suspects=gallery,
        marks=marks(suspects, len(gallery.tiles), earlier) if suspects and gallery else None,
        map=_map(images, findings),
        classes=_class_cards(images, findings, measured),
        more_classes=max(0, len(images.class_names) - _MOST_CLASSES),
        most=max(images.counts.values()),
        colours=_colours(images, measured),
        sizes=sizes[:_MOST_SIZES],
        more_sizes=max(0, len(sizes) - _MOST_SIZES),
        pixelated=max(images.pixels.shape[1:3]) < 64,
    )
    with output_file(path) as scratch:
        scratch.write_text(page, encoding="utf-8")


def _greatest(images: ImageSet) -> list[int]:
    """The classes with the most images, as many as are shown."""
    counts = np.array(list(images.counts.values()))
    return np.argsort(-counts, kind="stable")[:_MOST_CLASSES].tolist()


def _class_cards(images: ImageSet, findings: Findings, measured: Statistics) -> list[ClassCard]:
    cards = []
    for label in _greatest(images):
        mine = images.labels == label
        junk = int((mine & findings.junk).sum())
        mean, std = measured.class_mean[label], measured.class_std[label]
        cards.append(
            ClassCard(
                images.class_names[label],
                int(mine.sum()) - junk,
                junk,
                thumb(measured.mean_image[label]),
                "rgb({:.0f} {:.0f} {:.0f})".format(*mean),
                tuple(f"{m:.0f} ± {s:.0f}" for m, s in zip(mean, std, strict=True)),
            )
        )
    return cards


def _colours(images: ImageSet, measured: Statistics) -> Markup:
    return colour_figure(
        {
            images.class_names[label]: measured.mean[measured.chosen & (images.labels == label)]
            for label in _greatest(images)
        }
    )


def _map(images: ImageSet, findings: Findings) -> MapChart | None:
    places = image_map(findings)
    if places is None:
        return None
    labels, junk = images.labels[places.rows], findings.junk[places.rows]
    chart = map_figure(places.places, labels, junk, images.class_names)
    return MapChart(chart, len(places.rows))
