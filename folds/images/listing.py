"""Image files that a folder or a table names: listed first, then decoded."""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from folds.arrays import Bools
from folds.errors import UserError, counted, listed
from folds.images.decode import KINDS, UndecidedError, UnreadableError, decode
from folds.images.imageset import ImageSet
from folds.images.pixelfile import Pixels, PixelWriter, Shape, pieces
from folds.images.resize import cover
from folds.images.survey import Target, surveyed

_LOOKED_AT = 20  # broken files, for why they are


@dataclass(frozen=True)
class Unlabelled:
    """Images to be predicted.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (N, H, W, 3)
    ids : ndarray of str, shape (N,)
    notices : tuple of str
        What was left out or changed while reading.
    """

    pixels: NDArray[np.uint8]
    ids: NDArray[np.str_]
    notices: tuple[str, ...] = ()


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
    levels : float, optional
        See `Target`.
    notices : tuple of str
        What was passed over.
    columns : mapping of str to ndarray of str, shape (N,)
        See `ImageSet`.
    """

    source: Path
    root: Path
    ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    class_names: tuple[str, ...]
    side: int
    levels: float | None
    notices: tuple[str, ...]
    columns: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)

    @property
    def shape(self) -> Shape:
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
            UnreadableError ones shall be left out.

        Raises
        ------
        UserError
            There are broken files, or files of a class are all broken.
        """
        _check(self.source, self.root, self.ids, good, self.levels, skip_broken=skip_broken)
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
        ids, notices = self.ids[good], (*self.notices, *_left_out(self.ids, good))
        columns = {name: values[good] for name, values in self.columns.items()}
        return ImageSet(
            pixels, self.labels[good], self.class_names, ids, self.groups[good], notices, columns
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
        decoded, good[rows] = _read_all(files[rows], listing.side, listing.levels)
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
    def shape(self) -> Shape:
        """Of the decoded pixels, if all files are readable."""
        return self.listing.shape

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded pixels, if all files are readable."""
        return math.prod(self.shape)

    def decode(self) -> ImageSet:
        """Decode into memory."""
        decoded, good = _read_all(self.listing.files, self.listing.side, self.listing.levels)
        self.listing.check(good, skip_broken=self.skip_broken)
        return self.listing.images(np.stack(decoded), good)

    def decode_to(self, target: Path) -> ImageSet:
        """Decode into a new `PixelFile`."""
        with PixelWriter(target, self.listing.shape) as writer:
            good = self.decoder(self.listing, writer)
            self.listing.check(good, skip_broken=self.skip_broken)
            pixels = writer.finish(np.flatnonzero(good))
        return self.listing.images(pixels, good)


def listing(
    source: Path,
    root: Path,
    ids: NDArray[np.str_],
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    class_names: tuple[str, ...],
    target: Target,
    notices: Sequence[str] = (),
    columns: Mapping[str, NDArray[np.str_]] | None = None,
) -> Listing:
    """Make a `Listing` of files whose headers say what side they are decoded to."""
    side, told = surveyed(_paths(root, ids), target)
    every = (*notices, *told)
    return Listing(
        source, root, ids, labels, groups, class_names, side, target.levels, every, columns or {}
    )


def decode_unlabelled(
    source: Path,
    root: Path,
    ids: NDArray[np.str_],
    target: Target,
    notices: Sequence[str] = (),
    *,
    skip_broken: bool,
) -> Unlabelled:
    """Read files by their paths in a folder.

    Raises
    ------
    UserError
        Broken files.
    """
    files = _paths(root, ids)
    side, told = surveyed(files, target)
    decoded, good = _read_all(files, side, target.levels)
    _check(source, root, ids, good, target.levels, skip_broken=skip_broken)
    left_out = _left_out(ids, good)
    return Unlabelled(np.stack(decoded), ids[good], (*notices, *told, *left_out))


def _left_out(ids: NDArray[np.str_], good: Bools) -> list[str]:
    broken = ids[~good]
    count = counted(len(broken), "unreadable file")
    return [f"{count} left out: {listed(broken, most=10)}"] if len(broken) else []


def _read_all(
    files: Sequence[Path], side: int, levels: float | None
) -> tuple[list[NDArray[np.uint8]], Bools]:
    """Read files in parallel; returns the readable ones' pixels, and which of all these are."""
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(lambda file: read(file, side, levels), files))
    good = np.array([image is not None for image in decoded])
    return [image for image in decoded if image is not None], good


def _check(
    source: Path,
    root: Path,
    ids: NDArray[np.str_],
    good: Bools,
    levels: float | None,
    *,
    skip_broken: bool,
) -> None:
    """Refuse broken files, unless they shall be left out and others are there."""
    broken = ids[~good]
    if not len(broken) or (skip_broken and good.any()):
        return
    count = f"{len(broken)} of {len(ids)} image files cannot be read ({listed(broken)})"
    if skip_broken:
        count = f"none of the {len(ids)} image files can be read ({listed(broken)})"
    remedy = f"read are {KINDS}; mend them"
    for name in broken[:_LOOKED_AT].tolist():
        try:
            decode(root / name, levels)
        except UndecidedError as why:
            count, remedy = f"{count}: {name} {why}", why.remedy
            break
        except UnreadableError:
            continue
    others = ", or leave them out with --skip-broken" if good.any() else ""
    raise UserError(f"--data {source}: {count}; {remedy}{others}")


def read(file: Path | BinaryIO, side: int, levels: float | None = None) -> NDArray[np.uint8] | None:
    """Decode one file to (side, side); None if it is broken.

    Returns
    -------
    ndarray of uint8, shape (side, side, 3), or None
    """
    try:
        return cover(decode(file, levels), side)
    except UnreadableError:
        return None


def _paths(root: Path, ids: NDArray[np.str_]) -> list[Path]:
    return [root / name for name in ids.tolist()]
