"""What a run does about the findings of an audit."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from folds.audit.clusters import disagree, duplicate_clusters
from folds.audit.findings import Findings
from folds.errors import UserError
from folds.images.imageset import ImageSet


def merge_groups(groups: NDArray[np.str_], cluster: NDArray[np.int64]) -> NDArray[np.str_]:
    """Groups that no cluster of duplicates crosses.

    Parameters
    ----------
    groups : ndarray of str, shape (N,)
        Patients, slides; or each image its own.
    cluster : ndarray of int64, shape (N,)
        Row of the first image of each one's cluster.

    Returns
    -------
    ndarray of str, shape (N,)
        Where clusters join groups, the least of their names.
    """
    names, group = np.unique(groups, return_inverse=True)
    linked = coo_array((np.ones(len(group)), (group, group[cluster])), shape=(len(names),) * 2)
    number = connected_components(linked, directed=False)[1]
    _, least = np.unique(number, return_index=True)  # names are sorted
    return names[least[number[group]]]


@dataclass(frozen=True)
class AuditedImages:
    """What the table of findings says of all images, also of those that a run leaves out.

    Parameters
    ----------
    ids : ndarray of str, shape (N,)
    labels : ndarray of int64, shape (N,)
    class_names : tuple of str
    findings : Findings
    """

    ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    findings: Findings


def without_junk(images: ImageSet, findings: Findings) -> tuple[ImageSet, Findings]:
    """Leave out junk and all but the first of exact copies.

    Raises
    ------
    UserError
        Nothing of a class would be left.
    """
    rows = np.flatnonzero(~(findings.junk | findings.exact))
    left = np.bincount(images.labels[rows], minlength=len(images.class_names))
    if not left.all():
        name = images.class_names[int(left.argmin())]
        raise UserError(
            f"--audit drop: would leave out every image of class {name!r}; look at them with "
            "python -m folds.inspect, or use --audit report"
        )
    return images.kept(rows), findings.take(rows)


def apply_findings(
    images: ImageSet,
    findings: Findings,
    *,
    drop: bool,
    group: bool = True,
    beside: str = "in one fold with their originals",
    remedy: str = "--audit drop leaves junk and copies out",
) -> ImageSet:
    """Make audited images safe to divide into folds; their notices say what was found and done.

    Parameters
    ----------
    images : ImageSet
    findings : Findings
        Of the audit of these images.
    drop : bool
        Leave out junk and exact copies.
    group : bool
        Give near-duplicates one group.
    beside, remedy : str
        Where duplicates are, and what can be done, as `summary` tells.
    """
    remedy = "" if drop else remedy
    counted = summary(images, findings, drop=drop, beside=beside, remedy=remedy)
    if drop:
        images, findings = without_junk(images, findings)
    groups = merge_groups(images.groups, findings.cluster) if group else images.groups
    return replace(images, groups=groups, notices=(*images.notices, *findings.notices, *counted))


def summary(
    images: ImageSet, findings: Findings, *, drop: bool, beside: str, remedy: str = ""
) -> tuple[str, ...]:
    """Count junk, copies and near-duplicates in one line for the user; no line if there are none.

    Parameters
    ----------
    drop : bool
        Whether the line says that junk and exact copies are left out.
    beside : str
        Where duplicates are.
    remedy : str
        What the user can do.
    """
    junk, exact = int(findings.junk.sum()), int((findings.exact & ~findings.junk).sum())
    clusters = duplicate_clusters(images, findings)
    near = sum(map(len, clusters)) - len(clusters) - exact
    clash = sum(disagree(images, rows) for rows in clusters)
    counted = [
        (junk, f"images that look like no class (junk), {'left out' if drop else 'kept'}"),
        (exact, f"exact copies, {'left out' if drop else beside}"),
        (near, f"near-duplicates, {beside}"),
        (clash, "clusters of duplicates with different labels"),
    ]
    text = "; ".join(f"{count} {what}" for count, what in counted if count)
    shown = "; ".join(part for part in ("python -m folds.inspect shows them", remedy) if part)
    return (f"audit: {text} ({shown})",) if text else ()
