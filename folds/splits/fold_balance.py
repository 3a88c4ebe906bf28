"""Class counts of folds against their ideal, and what the user is told of them."""

import numpy as np
from numpy.typing import NDArray

from folds.images import ImageSet
from folds.splits.manifest import SplitManifest
from folds.splits.sites import site_notices

FAR = 0.2  # of a class's ideal count: a deviation that is named


def class_counts(
    manifest: SplitManifest, images: ImageSet
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Count the classes of the hold-out and of every fold.

    Returns
    -------
    counts : ndarray of int64, shape (repeats, 1 + folds, C)
        Images; the hold-out comes first.
    ideal : ndarray of float64, shape (1 + folds, C)
        What they would be if each part had its share of each class.
    """
    parts, classes = 1 + manifest.folds, len(images.class_names)
    cells = (manifest.of(images.ids) + 1) * classes + images.labels
    counts = np.stack([np.bincount(row, minlength=parts * classes) for row in cells])
    counts = counts.reshape(-1, parts, classes)
    total = np.bincount(images.labels, minlength=classes)
    held_out = counts[0, 0]
    ideal = np.tile((total - held_out) / manifest.folds, (parts, 1))
    ideal[0] = total * held_out.sum() / len(images)
    return counts, ideal


def split_notices(manifest: SplitManifest, images: ImageSet) -> list[str]:
    """What the user must be told: what is set aside, and how even groups leave the folds."""
    counts, ideal = class_counts(manifest, images)
    notices = []
    if held_out := int(counts[0, 0].sum()):
        absent = [n for n, count in zip(images.class_names, counts[0, 0], strict=True) if not count]
        lacks = f"; it has none of {', '.join(absent)}" if absent else ""
        notices.append(f"{held_out} of {len(images)} images are the hold-out{lacks}")
    if manifest.sites is not None or len(np.unique(manifest.groups)) < len(manifest.groups):
        worst = np.abs(counts - ideal).max()
        far = _farthest(manifest, images, counts, ideal)
        notices.append(f"folds are even to within {worst:.1f} images of each class{far}")
    if manifest.sites is not None and images.sites is not None:
        notices += site_notices(images, manifest.of(images.ids))
    return notices


def _farthest(
    manifest: SplitManifest,
    images: ImageSet,
    counts: NDArray[np.int64],
    ideal: NDArray[np.float64],
) -> str:
    """Name the count that is farthest from its ideal by share, if it is far and not by rounding."""
    off = np.abs(counts - ideal)
    share = np.where(off > 1, off / np.maximum(ideal, 1), 0)
    repeat, part, label = np.unravel_index(share.argmax(), share.shape)
    if share[repeat, part, label] <= FAR:
        return ""
    where = f"fold {part}" if part else "the hold-out"
    if part and manifest.repeats > 1:
        where = f"repeat {repeat + 1} {where}"
    return (
        f"; farthest is class {images.class_names[label]!r} in {where}: "
        f"{counts[repeat, part, label]} images instead of {ideal[part, label]:.1f}"
    )
