"""What images were like, kept as a small file, and how others differ from them."""

import io
import json
from pathlib import Path

import numpy as np

from folds.archives import read_arrays
from folds.errors import counted, listed
from folds.files import read_sealed, write_sealed
from folds.images.imageset import ImageSet


def write_manifest(path: Path, images: ImageSet) -> None:
    """Keep ids, classes, sites, slices and digests of images: some 50 bytes an image."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        ids=images.ids,
        classes=_classes(images),
        columns=_columns(images),
        digests=_prints(images),
    )
    write_sealed(path, buffer.getvalue())


def changes(path: Path, images: ImageSet) -> str:
    """Name the images that differ from those that `write_manifest` was given.

    Returns
    -------
    str
        ``2 images added (a, b), 1 image changed (c)``: how many and the first few; empty where
        there are none.

    Raises
    ------
    OSError, DamagedError
        The file is not there, or damaged.
    """
    arrays = read_arrays(io.BytesIO(read_sealed(path)))
    before, classes, prints = (arrays[name] for name in ("ids", "classes", "digests"))
    columns = arrays.get("columns", np.full(len(before), ""))
    _, old, new = np.intersect1d(before, images.ids, assume_unique=True, return_indices=True)
    kinds = {
        "added": np.setdiff1d(images.ids, before),
        "removed": np.setdiff1d(before, images.ids),
        "changed": before[old][prints[old] != _prints(images)[new]],
        "of another class": before[old][classes[old] != _classes(images)[new]],
        "of another site or slice": before[old][columns[old] != _columns(images)[new]],
    }
    return ", ".join(
        f"{counted(len(ids), 'image')} {kind} ({listed(ids.tolist())})"
        for kind, ids in kinds.items()
        if len(ids)
    )


def _classes(images: ImageSet) -> np.ndarray:
    return np.array(images.class_names)[images.labels]


def _columns(images: ImageSet) -> np.ndarray:
    """All that the columns say of each image, as one text; empty where there are none."""
    values = (images.columns[name].tolist() for name in sorted(images.columns))
    rows = [json.dumps(row) for row in zip(*values, strict=True)]
    return np.array(rows or [""] * len(images))


def _prints(images: ImageSet) -> np.ndarray:
    """A number (N,) for the pixels of each image."""
    return np.ascontiguousarray(images.digests[:, :8]).view(np.uint64).squeeze(1)
