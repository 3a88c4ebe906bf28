"""Reading a folder of class folders, and loose image files for prediction."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from folds.errors import UserError
from folds.images.imageset import singletons, stratified
from folds.images.listing import Listing, common_side, decode_unlabelled

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})


def survey(root: Path, size: int, *, limit: int | None = None, seed: int = 0) -> Listing:
    """List ``root/CLASS/.../image``; the classes are the sub-folders in the order of their names.

    Parameters
    ----------
    root : Path
        The folder.
    size : int
        Images of mixed sizes, or larger than this many pixels, become (size, size).
    limit, seed : int
        List no more files than this, a stratified choice. Broken files count.

    Raises
    ------
    UserError
        No class folders, or one without images.
    """
    files, labels, names, notices = _class_files(root)
    rows = stratified(labels, names, limit, seed=seed)
    ids = _relative([files[row] for row in rows.tolist()], root)
    side, resize = common_side(root, ids, size)
    return Listing(
        root, root, ids, labels[rows], singletons(ids), names, side, resize, tuple(notices)
    )


def load_unlabelled(root: Path, size: int) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Read every image file below a folder, named by its path in it."""
    files = sorted(path for path in root.rglob("*") if _is_image(path, root))
    if not files:
        raise UserError(f"--data {root}: no image files ({', '.join(sorted(SUFFIXES))}) in it")
    ids = _relative(files, root)
    return decode_unlabelled(root, root, ids, size), ids


def _relative(files: Sequence[Path], root: Path) -> NDArray[np.str_]:
    return np.array([file.relative_to(root).as_posix() for file in files], dtype=np.str_)


def _hidden(path: Path, root: Path) -> bool:
    """Whether a path is none of the user's: a dot file, or what macOS adds to archives."""
    return any(part.startswith((".", "__MACOSX")) for part in path.relative_to(root).parts)


def _is_image(path: Path, root: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file() and not _hidden(path, root)


def _class_files(root: Path) -> tuple[list[Path], NDArray[np.int64], tuple[str, ...], list[str]]:
    """All image files of all classes, sorted; what was passed over is counted in notices."""
    classes = sorted(path for path in root.iterdir() if path.is_dir() and not _hidden(path, root))
    if not classes:
        raise UserError(f"--data {root}: no class folders in it; put each class in a folder")
    files: list[Path] = []
    labels: list[int] = []
    hidden = other = 0
    names: list[str] = []
    for path in classes:
        entries = sorted(entry for entry in path.rglob("*") if entry.is_file())
        images = [entry for entry in entries if _is_image(entry, root)]
        hidden += sum(_hidden(entry, root) for entry in entries)
        other += sum(not _hidden(entry, root) for entry in entries) - len(images)
        if not images:
            raise UserError(f"--data {root}: class folder {path.name!r} has no images; remove it")
        labels += [len(names)] * len(images)
        names.append(path.name)
        files += images
    counted = [(hidden, "hidden files skipped"), (other, "files that are no images skipped")]
    notices = [f"{count} {what}" for count, what in counted if count]
    return files, np.array(labels, dtype=np.int64), tuple(names), notices
