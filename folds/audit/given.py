"""What folds that somebody brings along do to groups and to duplicates."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from folds.audit.findings import AuditedImages
from folds.errors import listed
from folds.images import ImageSet
from folds.images.groups import merge_groups
from folds.splits.manifest import SplitManifest

Rows = NDArray[np.int64]


def with_given_groups(
    images: ImageSet, manifest: SplitManifest, audit: AuditedImages | None
) -> ImageSet:
    """Images whose groups are all that is known of who belongs together.

    Parameters
    ----------
    images : ImageSet
        With the groups of their source.
    manifest : SplitManifest
        Given folds of these images, whose groups are joined to them.
    audit : AuditedImages, optional
        Whose duplicates are joined, too; a notice tells of those that the folds cut.

    Notes
    -----
    The folds stay as they are: joined groups, which folds may cut, count for intervals.
    """
    place = np.argsort(manifest.ids)
    place = place[np.searchsorted(manifest.ids[place], images.ids)]
    groups = merge_groups(images.groups, _first_rows(manifest.groups[place]))
    if audit is None:
        return replace(images, groups=groups)
    cluster = _clusters(images, audit)
    notices = _cut(images, manifest, cluster)
    groups = merge_groups(groups, cluster)
    return replace(images, groups=groups, notices=(*images.notices, *notices))


def _first_rows(names: NDArray) -> Rows:
    """Row of the first image that has each one's name."""
    _, first, number = np.unique(names, return_index=True, return_inverse=True)
    return first[number]


def _clusters(images: ImageSet, audit: AuditedImages) -> Rows:
    """Row of the first image of each one's duplicates, among those that are left."""
    order = np.argsort(audit.ids)
    rows = order[np.searchsorted(audit.ids[order], images.ids)]
    return _first_rows(audit.findings.cluster[rows])


def _cut(images: ImageSet, manifest: SplitManifest, cluster: Rows) -> tuple[str, ...]:
    """Count the clusters that are in several parts of a repeat, and name some."""
    part = manifest.of(images.ids)
    apart = (part != part[:, cluster]).any(axis=0)
    cut = np.unique(cluster[apart])
    if not len(cut):
        return ()
    copies = np.flatnonzero(cluster != np.arange(len(cluster)))
    named = [
        f"{images.ids[row]} and {images.ids[copies[apart[copies] & (cluster[copies] == row)][0]]}"
        for row in cut[:3].tolist()
    ]
    every = len(np.unique(cluster[copies]))
    return (
        f"the folds of --splits cut {len(cut)} of {every} clusters of duplicates "
        f"({listed([*named, *cut[3:].tolist()])}): models are validated on copies of what they "
        "were trained on, and the scores flatter; new folds, without --splits, keep them together",
    )
