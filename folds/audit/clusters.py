"""Images that belong together: duplicates of one picture, and repeated frames of junk."""

import numpy as np
from numpy.typing import NDArray

from folds.audit.findings import AuditedImages, Findings
from folds.images import ImageSet

Rows = NDArray[np.int64]
Images = ImageSet | AuditedImages


def duplicate_clusters(images: Images, findings: Findings) -> list[Rows]:
    """Clusters of at least two good images that show the same picture, the greatest first.

    Returns
    -------
    list of ndarray of int64
        Rows of each cluster, in the order of their ids.
    """
    return _clusters(images, findings, ~findings.junk, least=2)


def junk_clusters(images: Images, findings: Findings) -> list[Rows]:
    """Pictures among the junk with all their repetitions, the farthest from every class first.

    Returns
    -------
    list of ndarray of int64
        Rows of each picture, in the order of their ids; many have one.
    """
    pictures = _clusters(images, findings, findings.junk, least=1)
    return sorted(pictures, key=lambda rows: -float(findings.score[rows].max()))


def disagree(images: Images, rows: Rows) -> bool:
    """Whether images carry different labels."""
    return len(np.unique(images.labels[rows])) > 1


def _clusters(
    images: Images, findings: Findings, chosen: NDArray[np.bool_], *, least: int
) -> list[Rows]:
    """Rows of the chosen images by cluster, of those with at least `least`; greatest first."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.lexsort((images.ids[rows], findings.cluster[rows]))]
    _, number, size = np.unique(findings.cluster[rows], return_inverse=True, return_counts=True)
    rows, number = rows[size[number] >= least], number[size[number] >= least]
    if not len(rows):
        return []
    clusters = np.split(rows, np.flatnonzero(np.diff(number)) + 1)
    return sorted(clusters, key=len, reverse=True)
