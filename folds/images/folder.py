"""Reading a folder of class folders, and loose image files for prediction."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from folds.errors import UserError, listed
from folds.images.imageset import ImageSet, singletons, stratified
from folds.images.pixelfile import Pixels
from folds.images.resize import cover

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")  # nothing that is executed, as EPS is


@dataclass(frozen=True)
class Listing:
    """Labelled image files, before they are decoded.

    Parameters
    ----------
    source : Path
        What names them: a folder of class folders, or a table.
    root : Path
        The folder that the ids are relative to.
    ids : ndarray of str, shape (N,)
        Each file's path, in `root` or absolute.
    labels : ndarray of int64, shape (N,)
    groups : ndarray of str, shape (N,)
    class_names : tuple of str
    side : int
        Side in pixels of the decoded images.
    resize : bool
        Whether files are brought to `side`; else they all are squares of it.
    notices : tuple of str
        What was passed over.
    """

    source: Path
    root: Path
    ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    class_names: tuple[str, ...]
    side: int
    resize: bool
    notices: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the decoded pixels, if all files are readable."""
        return len(self.ids), self.side, self.side, 3

    @property
    def files(self) -> list[Path]:
        """The files, in the order of `ids`."""
        return _paths(self.root, self.ids)

    def check(self, good: NDArray[np.bool_], *, skip_broken: bool) -> None:
        """Refuse files that could not be read.

        Parameters
        ----------
        good : ndarray of bool, shape (N,)
            Which were readable.
        skip_broken : bool
            Unreadable ones shall be left out.

        Raises
        ------
        UserError
            There are broken files, or files of a class are all broken.
        """
        _check(self.source, self.ids, good, skip_broken=skip_broken)
        empty = sorted(set(range(len(self.class_names))) - set(self.labels[good].tolist()))
        if empty:
            name = self.class_names[empty[0]]
            raise UserError(f"--data {self.source}: class {name!r} has no readable image")

    def images(self, pixels: Pixels, good: NDArray[np.bool_]) -> ImageSet:
        """The image set of the G readable files, whose `pixels` are given."""
        ids, notices = self.ids[good], self.notices
        if not good.all():
            broken = self.ids[~good]
            left_out = f"{len(broken)} unreadable files left out: {listed(broken, most=10)}"
            notices = (*notices, left_out)
        return ImageSet(
            pixels, self.labels[good], self.class_names, ids, self.groups[good], notices
        )


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
    files, labels, names, notices = _listing(root)
    rows = stratified(labels, names, limit, seed=seed)
    ids = _relative([files[row] for row in rows.tolist()], root)
    side, resize = common_side(root, ids, size)
    return Listing(
        root, root, ids, labels[rows], singletons(ids), names, side, resize, tuple(notices)
    )


def decode(listing: Listing, *, skip_broken: bool) -> ImageSet:
    """Read listed files into memory.

    Raises
    ------
    UserError
        Broken files, unless they may be skipped.
    """
    decoded, good = _read_all(listing.files, listing.side if listing.resize else None)
    listing.check(good, skip_broken=skip_broken)
    return listing.images(np.stack(decoded), good)


def load_unlabelled(root: Path, size: int) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Read every image file below a folder, named by its path in it."""
    files = sorted(path for path in root.rglob("*") if _is_image(path, root))
    if not files:
        raise UserError(f"--data {root}: no image files ({', '.join(sorted(SUFFIXES))}) in it")
    ids = _relative(files, root)
    return decode_unlabelled(root, root, ids, size), ids


def decode_unlabelled(
    source: Path, root: Path, ids: NDArray[np.str_], size: int
) -> NDArray[np.uint8]:
    """Read files by their paths in a folder; those of mixed or greater size become (size, size).

    Raises
    ------
    UserError
        Broken files.
    """
    side, resize = common_side(root, ids, size)
    decoded, good = _read_all(_paths(root, ids), side if resize else None)
    _check(source, ids, good, skip_broken=False)
    return np.stack(decoded)


def _relative(files: Sequence[Path], root: Path) -> NDArray[np.str_]:
    return np.array([file.relative_to(root).as_posix() for file in files], dtype=np.str_)


def _paths(root: Path, ids: NDArray[np.str_]) -> list[Path]:
    return [root / name for name in ids.tolist()]


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


def common_side(root: Path, ids: NDArray[np.str_], size: int) -> tuple[int, bool]:
    """Side of the decoded images, and whether files must be resized to it.

    Equal squares of at most `size` pixels stay as they are.
    """
    with ThreadPoolExecutor() as pool:
        shapes = {shape for shape in pool.map(_shape, _paths(root, ids)) if shape}
    width, height = shapes.pop() if len(shapes) == 1 else (0, 1)
    return (width, False) if width == height <= size else (size, True)


def _read_all(
    files: Sequence[Path], size: int | None
) -> tuple[list[NDArray[np.uint8]], NDArray[np.bool_]]:
    """Read files in parallel; returns the readable ones' pixels, and which of all these are."""
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda file: read(file, size), files))
    good = np.array([image is not None for image in found])
    return [image for image in found if image is not None], good


def _check(
    source: Path, ids: NDArray[np.str_], good: NDArray[np.bool_], *, skip_broken: bool
) -> None:
    broken = ids[~good]
    if len(broken) and not skip_broken:
        raise UserError(
            f"--data {source}: {len(broken)} of {len(ids)} image files cannot be read "
            f"({listed(broken)}); mend them, or leave them out with --skip-broken"
        )
    if not good.any():
        raise UserError(f"--data {source}: none of the {len(ids)} image files can be read")


def _shape(file: Path) -> tuple[int, int] | None:
    try:
        with Image.open(file, formats=FORMATS) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def read(file: Path | BinaryIO, size: int | None) -> NDArray[np.uint8] | None:
    """Decode one file, to (size, size) if a size is given; None if it is broken.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3), or None
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            image.load()
            return np.asarray(image.convert("RGB")) if size is None else cover(image, size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
