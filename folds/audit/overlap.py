"""Whether external images are among those of ``--data``, and what is wrong with them."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from folds.arrays import Bools
from folds.audit.apply import apply_findings
from folds.audit.store import audited, near_copies
from folds.config import DataConfig
from folds.errors import listed
from folds.images.external import External
from folds.images.imageset import ImageSet, digests
from folds.images.source import files_of


def looked_at(
    images: ImageSet, externals: tuple[External, ...], config: DataConfig
) -> tuple[tuple[External, ...], list[str]]:
    """Audit external images as the others, and look for those that are known from training.

    Parameters
    ----------
    images : ImageSet
        Those that are trained on.
    externals : tuple of External
    config : DataConfig
        Of `images`: their source, and whether near-duplicates are looked for.

    Returns
    -------
    externals : tuple of External
        With near-duplicates in one group; none is left out.
    notices : list of str
        Of each set.
    """
    if not externals:
        return (), []
    seen, notices = [], []
    known = set(digests(images.pixels))
    for other in externals:
        there = other.images
        if config.audit != "off":
            there = apply_findings(
                there, audited(there), drop=False, beside="in one group with their originals",
                remedy="",
            )  # fmt: skip
        notices += [f"--external {other.name}: {line}" for line in there.notices]
        same = np.array([digest in known for digest in digests(there.pixels)], dtype=bool)
        theirs = files_of(config.model_copy(update={"data": other.source}), there.ids)
        same |= _same_files(files_of(config, images.ids), theirs, len(there))
        notices += _told(other.name, there.ids[same], len(there), "are also among those")
        if config.audit != "off":
            near = near_copies(images, there) & ~same
            notices += _told(other.name, there.ids[near], len(there), "are near-duplicates of some")
        seen.append(replace(other, images=replace(there, notices=())))
    return tuple(seen), notices


def _told(name: str, ids: NDArray[np.str_], of: int, what: str) -> list[str]:
    if not len(ids):
        return []
    return [
        f"--external {name}: {len(ids)} of its {of} images {what} of --data ({listed(ids)}); "
        "its scores flatter"
    ]


def _same_files(mine: Sequence[Path], theirs: Sequence[Path], count: int) -> Bools:
    """Which of the other source's `count` images, if they are files, hold the same bytes as one.

    Their pixels may differ: files are brought to one size, which depends on all files of a set.
    Files are read only where another has the same length.
    """
    lengths = {_length(file) for file in mine} & {_length(file) for file in theirs}
    known = {_digest(file) for file in mine if _length(file) in lengths}
    same = [_length(file) in lengths and _digest(file) in known for file in theirs]
    return np.array(same or [False] * count, dtype=bool)


def _length(file: Path) -> int:
    return file.stat().st_size


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
