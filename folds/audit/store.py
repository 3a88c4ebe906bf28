"""What an audit found, remembered by what the images hold."""

import zipfile
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from folds.audit.audit import audit
from folds.audit.findings import Findings
from folds.files import cache_folder, replacing
from folds.images.imageset import ImageSet

VERSION = 2  # to be raised when the audit finds something else


def audited(images: ImageSet) -> Findings:
    """Audit images by their pixels, or take the findings of an earlier run on the same images.

    They are kept in the user's cache, which is done without where it is damaged or cannot be
    written to: an audit takes time, but nothing depends on its being kept.
    """
    path = cache_folder() / "audit" / f"{images.digest}-{VERSION}.npz"
    try:
        return read(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        findings = audit(images)
    with suppress(OSError):
        write(path, findings)
    return findings


def write(path: Path, findings: Findings) -> None:
    """Write findings as a .npz file of plain arrays."""
    arrays: dict[str, Any] = {f.name: np.array(getattr(findings, f.name)) for f in fields(findings)}
    with replacing(path) as scratch, scratch.open("wb") as file:
        np.savez(file, **arrays)


def read(path: Path) -> Findings:
    """Read what `write` wrote; nothing in it is unpickled.

    Raises
    ------
    OSError, ValueError, KeyError, BadZipFile
        There is no such file, or it is another or damaged.
    """
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        values = {field.name: arrays[field.name] for field in fields(Findings)}
    for name in ("reasons", "notices"):
        values[name] = tuple(values[name].tolist())
    return Findings(**values)
