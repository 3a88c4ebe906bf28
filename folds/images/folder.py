"""Reading a folder of class folders, and loose image files for prediction."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from folds.errors import UserError, listed
from folds.images.imageset import ImageSet, singletons
from folds.images.resize import cover

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})


def load(
    root: Path, size: int, *, skip_broken: bool, limit: int | None = None, seed: int = 0
) -> ImageSet:
    """Read ``root/CLASS/.../image``; the classes are the sub-folders in the order of their names.

    Parameters
    ----------
    root : Path
        The folder.
    size : int
        Images of mixed sizes, or larger than this many pixels, become (size, size).
    skip_broken : bool
        Leave out files that cannot be read instead of refusing them.
    limit, seed : int
        Read no more files than this, a stratified choice. Broken files count as read.

    Raises
    ------
    UserError
        No class folders, no images, or broken files.
    """
    files, labels, names, notices = _listing(root)
    ids = np.array([file.relative_to(root).as_posix() for file in files], dtype=np.str_)
    choice = _choose(labels, ids, names, limit, seed)
    pixels, good = _decode([files[row] for row in choice], size, skip_broken=skip_broken, root=root)
    kept = choice[good]
    if len(kept) < len(choice):
        broken = ids[np.setdiff1d(choice, kept)]
        notices.append(f"{len(broken)} unreadable files left out: {listed(broken, most=10)}")
    empty = sorted(set(range(len(names))) - set(labels[kept].tolist()))
    if empty:
        raise UserError(f"--data {root}: class {names[empty[0]]!r} has no readable image")
    return ImageSet(pixels, labels[kept], names, ids[kept], singletons(ids[kept]), tuple(notices))


def load_unlabelled(root: Path, size: int) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Read every image file below a folder, named by its path in it."""
    files = sorted(path for path in root.rglob("*") if _is_image(path, root))
    if not files:
        raise UserError(f"--data {root}: no image files ({', '.join(sorted(SUFFIXES))}) in it")
    pixels, _ = _decode(files, size, skip_broken=False, root=root)
    return pixels, np.array([file.relative_to(root).as_posix() for file in files], dtype=np.str_)


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.relative_to(root).parts)


def _is_image(path: Path, root: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file() and not _hidden(path, root)


def _listing(root: Path) -> tuple[list[Path], NDArray[np.int64], tuple[str, ...], list[str]]:
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


def _choose(
    labels: NDArray[np.int64],
    ids: NDArray[np.str_],
    names: tuple[str, ...],
    limit: int | None,
    seed: int,
) -> NDArray[np.int64]:
    """Rows of the stratified subset, chosen before any file is read."""
    rows = np.arange(len(labels), dtype=np.int64)
    if limit is None or len(names) < 2:
        return rows
    stand_in = np.zeros((len(labels), 1, 1, 3), dtype=np.uint8)
    chosen = ImageSet(stand_in, labels, names, ids, ids).limited(limit, seed=seed)
    return rows[np.isin(ids, chosen.ids)]


def _decode(
    files: Sequence[Path], size: int, *, skip_broken: bool, root: Path
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read files in parallel; equal squares of at most `size` pixels stay as they are.

    Returns
    -------
    pixels : ndarray of uint8, shape (G, H, W, 3)
        The G readable images.
    good : ndarray of bool, shape (N,)
        Which files these are.
    """
    with ThreadPoolExecutor() as pool:
        shapes = list(pool.map(_shape, files))
        width, height = next((shape for shape in shapes if shape), (0, 1))
        keep = width == height <= size and set(shapes) <= {(width, height), None}
        decoded = list(pool.map(lambda file: _read(file, None if keep else size), files))
    good = np.array([image is not None for image in decoded])
    broken = [
        file.relative_to(root).as_posix() for file, ok in zip(files, good, strict=True) if not ok
    ]
    if broken and not skip_broken:
        raise UserError(
            f"--data {root}: {len(broken)} of {len(files)} image files cannot be read "
            f"({listed(broken)}); mend them, or leave them out with --skip-broken"
        )
    if not good.any():
        raise UserError(f"--data {root}: none of the {len(files)} image files can be read")
    return np.stack([image for image in decoded if image is not None]), good


def _shape(file: Path) -> tuple[int, int] | None:
    try:
        with Image.open(file) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _read(file: Path, size: int | None) -> NDArray[np.uint8] | None:
    """Decode one file, to (size, size) if a size is given; None if it is broken."""
    try:
        with Image.open(file) as image:
            image.load()
            return np.asarray(image.convert("RGB")) if size is None else cover(image, size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
