"""Pictures side by side: junk, clusters of duplicates, suspect labels."""

from dataclasses import dataclass

import numpy as np

from folds.audit.clusters import Rows, disagree, junk_clusters
from folds.audit.findings import Findings
from folds.audit.suspects import Suspects, rows_of
from folds.images import ImageSet
from folds.pages.templates import number
from folds.pages.thumbs import thumb

MOST_JUNK, MOST_CLUSTERS, MOST_MEMBERS, MOST_SUSPECTS = 200, 60, 12, 100


@dataclass(frozen=True)
class Tile:
    """A picture with its words.

    Parameters
    ----------
    picture : str
        Data URI.
    name : str
        The image's id.
    title : str
        The line that matters.
    text : str
        What else there is to say.
    badge : str
        A few characters on the picture.
    """

    picture: str
    name: str
    title: str
    text: str = ""
    badge: str = ""


@dataclass(frozen=True)
class Gallery:
    """The first pictures of a kind, and how many more there are."""

    tiles: list[Tile]
    more: int


@dataclass(frozen=True)
class Cluster:
    """Duplicates side by side."""

    tiles: list[Tile]
    more: int
    note: str


def junk_gallery(images: ImageSet, findings: Findings) -> Gallery:
    """Junk by score, a tile for each picture however often it is repeated."""
    pictures = junk_clusters(images, findings)
    tiles = []
    for rows in pictures[:MOST_JUNK]:
        row = int(rows[np.argmax(findings.score[rows])])
        labels = np.unique(images.labels[rows])
        said = (
            f"labelled {images.class_names[labels[0]]}"
            if len(labels) == 1
            else f"under {len(labels)} labels"
        )
        tiles.append(
            Tile(
                thumb(images.pixels[np.array([row])][0]),
                str(images.ids[row]),
                f"score {findings.score[row]:.1f}, {said}",
                findings.reasons[row],
                f"{len(rows):,} times" if len(rows) > 1 else "",
            )
        )
    return Gallery(tiles, len(pictures) - len(tiles))


def cluster_gallery(
    images: ImageSet, findings: Findings, clusters: list[Rows]
) -> tuple[list[Cluster], int]:
    """The first clusters side by side, and how many more there are."""
    least = _least_similarity(findings)
    shown = [_cluster(images, findings, rows, least) for rows in clusters[:MOST_CLUSTERS]]
    return shown, len(clusters) - len(shown)


def _least_similarity(findings: Findings) -> dict[int, float]:
    """The lowest similarity among the pairs of each cluster."""
    least: dict[int, float] = {}
    for cluster, similarity in zip(
        findings.cluster[findings.pairs[:, 0]].tolist(), findings.similarity.tolist(), strict=True
    ):
        least[cluster] = min(similarity, least.get(cluster, 1.0))
    return least


def _cluster(images: ImageSet, findings: Findings, rows: Rows, least: dict[int, float]) -> Cluster:
    shown = rows[:MOST_MEMBERS]
    mixed = disagree(images, rows)
    tiles = [
        Tile(
            thumb(pixels),
            str(images.ids[row]),
            images.class_names[images.labels[row]],
            badge="copy" if findings.exact[row] else "",
        )
        for row, pixels in zip(shown.tolist(), images.pixels[shown], strict=True)
    ]
    similarity = least.get(int(findings.cluster[rows[0]]), 1.0)
    note = f"{number(len(rows), 'image')}, similarity {similarity:.3f}" + (
        f", {len(np.unique(images.labels[rows]))} labels" if mixed else ""
    )
    return Cluster(tiles, len(rows) - len(shown), note)


def suspect_gallery(images: ImageSet, findings: Findings, suspects: Suspects) -> Gallery:
    """Images whose labels are likely wrong, the most suspect first."""
    rows = rows_of(suspects.ids, images)[:MOST_SUSPECTS]
    names, junk = suspects.class_names, findings.junk[rows]
    tiles = [
        Tile(
            thumb(pixels),
            str(suspects.ids[i]),
            f"{names[suspects.given[i]]} → {names[suspects.suggested[i]]}",
            f"{suspects.quality[i]:.1%} against {suspects.confidence[i]:.0%}",
            "junk" if junk[i] else "",
        )
        for i, pixels in enumerate(images.pixels[rows])
    ]
    return Gallery(tiles, len(suspects) - len(tiles))
