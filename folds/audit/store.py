"""What an audit found, remembered by what the images hold."""

import hashlib
import io
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from folds.archives import read_arrays
from folds.audit.audit import audit
from folds.audit.describe import describe
from folds.audit.duplicates import find_duplicates
from folds.audit.findings import Findings
from folds.files import cache_folder, read_sealed, write_sealed
from folds.images.imageset import ImageSet

_MISSING = (OSError, ValueError, KeyError)
VERSION = 3  # to be raised when the audit finds something else


def audited(images: ImageSet, rows: NDArray[np.int64] | None = None) -> Findings:
    """Audit images by their pixels, or take the findings of an earlier run on the same images.

    They are kept in the user's cache, which is done without where it is damaged or cannot be
    written to: an audit takes time, but nothing depends on its being kept.

    Parameters
    ----------
    images : ImageSet
    rows : ndarray of int64, optional
        Those that are audited, as if there were no others.
    """
    ids = images.ids if rows is None else images.ids[rows]
    order = np.argsort(ids, kind="stable")  # the digest does not tell that of the images
    among = "" if rows is None else "-" + _digest(ids[order])
    path = _place(images.digest + among)
    try:
        return read(path).take(np.argsort(order))
    except _MISSING:
        findings = audit(images, rows=rows)
    with suppress(OSError):
        write(path, findings.take(order))
    return findings


def _digest(ids: NDArray[np.str_]) -> str:
    return hashlib.sha256("\n".join(ids.tolist()).encode()).hexdigest()[:16]


def near_copies(images: ImageSet, others: ImageSet) -> NDArray[np.bool_]:
    """Which of other images are the same picture as one of these, remembered as by `audited`.

    Returns
    -------
    ndarray of bool, shape (len(others),)

    Notes
    -----
    The search is that of an audit, in both sets together.
    """
    path = _place(f"{images.digest}-{others.digest}")
    with suppress(*_MISSING):
        return np.isin(others.ids, _read(path, ("ids",))["ids"])
    one, other = (
        describe(some.pixels).take(np.argsort(some.ids, kind="stable")) for some in (images, others)
    )
    cluster = find_duplicates(one.beside(other)).cluster[len(images) :]
    ids = np.sort(others.ids)[cluster < len(images)]
    with suppress(OSError):
        _write(path, {"ids": ids})
    return np.isin(others.ids, ids)


def _place(key: str) -> Path:
    return cache_folder() / "audit" / f"{key}-{VERSION}.npz"


def write(path: Path, findings: Findings) -> None:
    """Write findings as a .npz file of plain arrays."""
    _write(
        path, {field.name: np.array(getattr(findings, field.name)) for field in fields(findings)}
    )


def read(path: Path) -> Findings:
    """Read what `write` wrote; nothing in it is unpickled.

    Raises
    ------
    OSError, ValueError, KeyError
        There is no such file, or it is another or damaged.
    """
    values = _read(path, [field.name for field in fields(Findings)])
    for name in ("reasons", "notices"):
        values[name] = tuple(values[name].tolist())
    return Findings(**values)


def _write(path: Path, arrays: dict[str, Any]) -> None:
    file = io.BytesIO()
    np.savez(file, **arrays)
    write_sealed(path, file.getvalue())


def _read(path: Path, names: Iterable[str]) -> dict[str, Any]:
    return dict(read_arrays(io.BytesIO(read_sealed(path)), *names))
