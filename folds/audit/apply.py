"""What a run does about the findings of an audit."""

from dataclasses import replace

import numpy as np

from folds.arrays import Bools
from folds.audit.clusters import disagree, duplicate_clusters
from folds.audit.findings import AuditedImages, Findings
from folds.audit.store import audited
from folds.errors import UserError
from folds.images.groups import merge_groups
from folds.images.imageset import ImageSet


def without(images: ImageSet, gone: Bools) -> ImageSet:
    """Leave out images.

    Raises
    ------
    UserError
        Nothing of a class would be left.
    """
    rows = np.flatnonzero(~gone)
    left = np.bincount(images.labels[rows], minlength=len(images.class_names))
    if not left.all():
        name = images.class_names[int(left.argmin())]
        raise UserError(
            f"--audit drop: would leave out every image of class {name!r}; look at them with "
            "python -m folds.inspect, or use --audit report"
        )
    return images.kept(rows)


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
        Leave out junk and all but the first of exact copies.
    group : bool
        Give near-duplicates one group.
    beside, remedy : str
        Where duplicates are, and what can be done, as `summary` tells.
    """
    remedy = "" if drop else remedy
    counted = summary(images, findings, drop=drop, beside=beside, remedy=remedy)
    groups = merge_groups(images.groups, findings.cluster) if group else images.groups
    images = replace(images, groups=groups, notices=(*images.notices, *findings.notices, *counted))
    return without(images, findings.junk | findings.exact) if drop else images


def drop_beside(images: ImageSet, findings: Findings, aside: Bools) -> ImageSet:
    """Leave out junk and exact copies, but nothing of a hold-out.

    Parameters
    ----------
    images : ImageSet
        N images, grouped.
    findings : Findings
        In all of them, which say what junk the hold-out has.
    aside : ndarray of bool, shape (N,)
        The hold-out.

    Notes
    -----
    What is left out of the others does not depend on the hold-out's labels or pixels, and the
    hold-out is scored as it comes.
    """
    rows = np.flatnonzero(~aside)
    others = audited(images, rows)
    seen = AuditedImages(images.ids[rows], images.labels[rows], images.class_names, others)
    told = summary(seen, others, drop=True, beside="in one fold with their originals")
    odd = int(findings.junk[aside].sum())
    held = f", {odd} of them like no class (junk)" if odd else ""
    kept = f"--audit drop: the {int(aside.sum())} images of the hold-out all stay{held}"
    gone = np.zeros(len(images), dtype=bool)
    gone[rows] = others.junk | others.exact
    notices = (*images.notices, *others.notices, *told, kept)
    return without(replace(images, notices=notices), gone)


def summary(
    images: ImageSet | AuditedImages,
    findings: Findings,
    *,
    drop: bool,
    beside: str,
    remedy: str = "",
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
