"""Image files that a folder or a table names: listed first, then decoded."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from folds.arrays import Bools
from folds.errors import UserError, listed
from folds.images.imageset import ImageSet
from folds.images.pixelfile import Pixels, PixelWriter, pieces
from folds.images.resize import cover

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")  # nothing that is executed, as EPS is
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # Pillow raises


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

    def check(self, good: Bools, *, skip_broken: bool) -> None:
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

    def images(self, pixels: Pixels, good: Bools) -> ImageSet:
        """Join the facts of the G readable files with their pixels; a notice tells of the others.

        Parameters
        ----------
        pixels : ndarray of uint8 or PixelFile, shape (G, side, side, 3)
        good : ndarray of bool, shape (N,)
            Which were readable.
        """
        ids, notices = self.ids[good], self.notices
        if not good.all():
            broken = self.ids[~good]
            left_out = f"{len(broken)} unreadable files left out: {listed(broken, most=10)}"
            notices = (*notices, left_out)
        return ImageSet(
            pixels, self.labels[good], self.class_names, ids, self.groups[good], notices
        )


def decode_in_threads(listing: Listing, writer: PixelWriter) -> Bools:
    """Decode listed files on this machine and write each image into its row.

    Parameters
    ----------
    listing : Listing
        N files.
    writer : PixelWriter
        Open, with room for all of them.

    Returns
    -------
    ndarray of bool, shape (N,)
        Which files were readable; the rows of the others are arbitrary.
    """
    files, good = listing.files, np.zeros(len(listing.ids), dtype=bool)
    for rows in pieces(listing.shape):
        decoded, good[rows] = _read_all(files[rows], listing.side, listing.resize)
        if decoded:
            writer.write(rows.start + np.flatnonzero(good[rows]), np.stack(decoded))
    return good


Decoder = Callable[[Listing, PixelWriter], Bools]


@dataclass(frozen=True)
class FileSource:
    """Images in files of their own, see `folds.images.source.Source`.

    Parameters
    ----------
    listing : Listing
    skip_broken : bool
        Whether unreadable files are left out; else they are refused.
    decoder : callable
        Fills a pixel file as `decode_in_threads` does: there, or over a cluster.
    """

    listing: Listing
    skip_broken: bool
    decoder: Decoder = decode_in_threads

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded pixels, if all files are readable."""
        return math.prod(self.listing.shape)

    def decode(self) -> ImageSet:
        """Decode into memory."""
        decoded, good = _read_all(self.listing.files, self.listing.side, self.listing.resize)
        self.listing.check(good, skip_broken=self.skip_broken)
        return self.listing.images(np.stack(decoded), good)

    def decode_to(self, target: Path) -> ImageSet:
        """Decode into a new `PixelFile`."""
        with PixelWriter(target, self.listing.shape) as writer:
            good = self.decoder(self.listing, writer)
            self.listing.check(good, skip_broken=self.skip_broken)
            pixels = writer.finish(np.flatnonzero(good))
        return self.listing.images(pixels, good)


def decode_unlabelled(
    source: Path, root: Path, ids: NDArray[np.str_], size: int
) -> NDArray[np.uint8]:
    """Read files by their paths in a folder; those of mixed or greater size become (size, size).

    Raises
    ------
    UserError
        Broken files.
    """
    decoded, good = _read_all(_paths(root, ids), *common_side(root, ids, size))
    _check(source, ids, good, skip_broken=False)
    return np.stack(decoded)


def common_side(root: Path, ids: NDArray[np.str_], size: int) -> tuple[int, bool]:
    """Side of the decoded images, and whether files must be resized to it; reads headers alone.

    Equal squares of at most `size` pixels stay as they are.
    """
    with ThreadPoolExecutor() as pool:
        shapes = {shape for shape in pool.map(_shape, _paths(root, ids)) if shape}
    width, height = shapes.pop() if len(shapes) == 1 else (0, 1)
    return (width, False) if width == height <= size else (size, True)


def _read_all(
    files: Sequence[Path], side: int, resize: bool
) -> tuple[list[NDArray[np.uint8]], Bools]:
    """Read files in parallel; returns the readable ones' pixels, and which of all these are."""
    size = side if resize else None
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(lambda file: read(file, size), files))
    good = np.array([image is not None for image in decoded])
    return [image for image in decoded if image is not None], good


def _check(source: Path, ids: NDArray[np.str_], good: Bools, *, skip_broken: bool) -> None:
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
    except _UNREADABLE:
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
    except _UNREADABLE:
        return None


def _paths(root: Path, ids: NDArray[np.str_]) -> list[Path]:
    return [root / name for name in ids.tolist()]
