"""The images that are worth keeping, in a file of their own; the source stays as it is."""

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from folds.audit.clusters import Rows, disagree, duplicate_clusters
from folds.audit.findings import Findings
from folds.files import output_file
from folds.images import ImageSet
from folds.images.imageset import SITE
from folds.images.pixelfile import pieces


@dataclass(frozen=True)
class Selection:
    """Which of N images are kept, and why the others are not.

    Parameters
    ----------
    why : tuple of str
        For each image; empty: it is kept.
    duplicate_of : ndarray of int64, shape (N,)
        Row of the image that is kept in its place, -1 for images that are kept or junk.

    Notes
    -----
    Of each cluster of duplicates one image is kept, which carries the cluster's most frequent
    label; without duplicates and junk all are.
    """

    why: tuple[str, ...]
    duplicate_of: Rows

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which images are kept."""
        return np.array([not why for why in self.why], dtype=bool)


def select(images: ImageSet, findings: Findings) -> Selection:
    """Leave out junk, and of each cluster of duplicates all but one image."""
    judged = zip(findings.reasons, findings.junk.tolist(), strict=True)
    why = [reason or "junk" if junk else "" for reason, junk in judged]
    duplicate_of = np.full(len(images), -1, dtype=np.int64)
    for rows in duplicate_clusters(images, findings):
        keeper = _keeper(images, rows)
        pixels = images.pixels[np.array([keeper])]
        for row in rows[rows != keeper].tolist():
            same = np.array_equal(images.pixels[np.array([row])], pixels)
            why[row] = f"{'copy' if same else 'near-duplicate'} of {images.ids[keeper]}"
            if disagree(images, np.array([row, keeper])):
                why[row] += f", which is labelled {images.class_names[images.labels[keeper]]}"
            duplicate_of[row] = keeper
    return Selection(tuple(why), duplicate_of)


def _keeper(images: ImageSet, rows: Rows) -> int:
    """The first image that has the cluster's most frequent label."""
    labels = images.labels[rows]
    count = np.bincount(labels)[labels]
    return int(rows[np.argmax(count)])


def manifest_path(path: Path) -> Path:
    """Where the list of what was left out of a file lies: beside it."""
    return path.with_suffix(".manifest.csv")


def write_clean(
    path: Path,
    images: ImageSet,
    findings: Findings,
    selection: Selection,
    original: Rows | None = None,
) -> None:
    """Write the kept images, and beside them a manifest of those left out.

    Parameters
    ----------
    path : Path
        An .npz file that `folds.images.load` reads: ``images`` (K, H, W, 3) uint8, ``labels`` (K,)
        int64, ``class_names``, the images' ``ids``, ``groups``, ``sites`` and slices (K,) str, as
        the source has them, and their ``original_indices`` (K,) int64 in it.
    original : ndarray of int64, shape (N,), optional
        Indices of all images in the source, where some are left out of them already.

    Raises
    ------
    RunError
        A file cannot be written; there is none of that name then, or the one from before.
    """
    rows = np.flatnonzero(selection.kept)
    original = np.arange(len(images)) if original is None else original
    with output_file(manifest_path(path)) as manifest, output_file(path) as scratch:
        with zipfile.ZipFile(scratch, "w") as archive:
            with archive.open("images.npy", "w", force_zip64=True) as member:
                _write_pixels(member, images, rows)
            for name, array in {
                "labels": images.labels[rows],
                "class_names": np.array(images.class_names),
                "original_indices": original[rows],
                "ids": images.ids[rows],
                "groups": images.groups[rows],
                **_columns(images, rows),
            }.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        _write_manifest(manifest, images, findings, selection, original)


def _columns(images: ImageSet, rows: Rows) -> dict[str, NDArray[np.str_]]:
    """Sites and slices by the names of their arrays."""
    columns = {name: values[rows] for name, values in images.columns.items()}
    return {"sites" if name == SITE else name: values for name, values in columns.items()}


def _write_pixels(member: IO[bytes], images: ImageSet, rows: Rows) -> None:
    """Write images as an array of numpy's, a piece at a time."""
    shape = (len(rows), *images.pixels.shape[1:])
    fields = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(member, fields)
    for piece in pieces(shape):
        member.write(np.ascontiguousarray(images.pixels[rows[piece]]).data)


def _write_manifest(
    path: Path, images: ImageSet, findings: Findings, chosen: Selection, original: Rows
) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "original_index", "label", "class", "why", "score", "duplicate_of"])
        for row in np.flatnonzero(~chosen.kept).tolist():
            label, instead = int(images.labels[row]), int(chosen.duplicate_of[row])
            writer.writerow(
                [
                    images.ids[row], original[row], label, images.class_names[label],
                    chosen.why[row], f"{findings.score[row]:.4f}",
                    images.ids[instead] if instead >= 0 else "",
                ]
            )  # fmt: skip
