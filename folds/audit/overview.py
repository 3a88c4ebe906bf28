"""What was found in a few numbers, and what can be done about it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from folds.audit.clusters import disagree, duplicate_clusters, junk_clusters
from folds.audit.findings import Findings
from folds.images import ImageSet


@dataclass(frozen=True)
class Overview:
    """Counts of what an audit found.

    Parameters
    ----------
    images, classes : int
    imbalance : float
        Images of the greatest class for each one of the smallest.
    junk, junk_pictures : int
        Junk images, and how many different pictures they show.
    clusters, duplicates, exact : int
        Clusters of duplicates, the images in them beyond the first of each, and how many of these
        are exact copies.
    conflicts : int
        Clusters whose images carry different labels.
    """

    images: int
    classes: int
    imbalance: float
    junk: int
    junk_pictures: int
    clusters: int
    duplicates: int
    exact: int
    conflicts: int


def overview(images: ImageSet, findings: Findings) -> Overview:
    """Count the findings of an audit."""
    clusters, counts = duplicate_clusters(images, findings), images.counts.values()
    return Overview(
        images=len(images),
        classes=len(images.class_names),
        imbalance=max(counts) / min(counts),
        junk=int(findings.junk.sum()),
        junk_pictures=len(junk_clusters(images, findings)),
        clusters=len(clusters),
        duplicates=sum(len(rows) - 1 for rows in clusters),
        exact=int((findings.exact & ~findings.junk).sum()),
        conflicts=sum(disagree(images, rows) for rows in clusters),
    )


def remedies(sources: Sequence[str], counts: Overview) -> dict[str, str]:
    """What can be done about what was found, each with its command."""
    data = f"--data {shlex.join(sources)}"
    ways = {}
    if counts.junk or counts.exact:
        ways["train without junk and exact copies"] = (
            f"python -m distributed.cv {data} --audit drop"
        )
    if counts.junk or counts.clusters:
        ways["write a file with one image of each cluster and without junk"] = (
            f"python -m folds.inspect {data} --clean-to clean.npz"
        )
    return ways
