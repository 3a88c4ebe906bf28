"""Images whose files are in a table: data sets of the Hugging Face hub, listed and decoded."""

import io
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from folds.arrays import Bools, Ints
from folds.errors import UserError, counted, listed
from folds.images.class_names import check_names
from folds.images.columns import no_column
from folds.images.decode import KINDS, header
from folds.images.hub import Parts
from folds.images.imageset import SITE, ImageSet, singletons, stratified
from folds.images.listing import Unlabelled, read
from folds.images.pixelfile import Pixels, PixelWriter, Shape
from folds.images.survey import Target, summed_up

if TYPE_CHECKING:
    from folds.images.hub_table import HubTable

Text = NDArray[np.str_]
Write = Callable[[Ints, NDArray[np.uint8]], object]


@dataclass(frozen=True)
class EmbeddedSource:
    """Labelled images in the tables of a data set, see `folds.images.source.Source`.

    Image i of part p is called ``p/i``, in seven digits. Columns ``group`` and ``site`` mean what
    they do in a table.

    Parameters
    ----------
    path : Path
        The folder, as messages name it.
    parts : mapping of str to sequence of Path
        Names of those that are read, and their files.
    target : Target
        What the images are decoded to.
    limit, seed : int
        No more images than this, a stratified choice. Broken ones count.
    slices : tuple of str
        Further columns to be kept, see `ImageSet.columns`.
    skip_broken : bool
        Whether unreadable images are left out; else they are refused.
    notices : tuple of str
        What the user must know of the parts.

    Raises
    ------
    UserError
        By each method: files are damaged, or have no column of images or labels.
    """

    path: Path
    parts: Parts
    target: Target
    limit: int | None = None
    seed: int = 0
    slices: tuple[str, ...] = ()
    skip_broken: bool = False
    notices: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        """Of the decoded pixels, if all images are readable."""
        side, _ = self._surveyed
        return len(self._rows), side, side, 3

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded pixels, if all images are readable."""
        return math.prod(self.shape)

    def decode(self) -> ImageSet:
        """Decode into memory."""
        pixels, good = self._decoded(self._rows)
        return self._images(pixels, good)

    def decode_to(self, target: Path) -> ImageSet:
        """Decode into a new `PixelFile`."""
        with PixelWriter(target, self.shape) as writer:
            good = self._fill(self._rows, writer.write)
            pixels = writer.finish(np.flatnonzero(good))
        return self._images(pixels, good)

    def unlabelled(self) -> Unlabelled:
        """The images alone, all of them."""
        ids = self._table.ids
        pixels, good = self._decoded(np.arange(len(ids)))
        return Unlabelled(pixels, ids[good], (*self._surveyed[1], *_left_out(ids, good)))

    def _images(self, pixels: Pixels, good: Bools) -> ImageSet:
        """Join the facts of the readable images with their pixels."""
        labels, names = self._labels
        rows = self._rows
        ids = self._table.ids[rows][good]
        columns = {name: values[rows][good] for name, values in self._columns.items()}
        groups = columns.pop("group", singletons(ids))
        told = (*self.notices, *check_names(self.path, names, ids.tolist()), *self._surveyed[1])
        notices = (*told, *_left_out(self._table.ids[rows], good))
        labels = labels[rows][good]
        empty = sorted(set(range(len(names))) - set(labels.tolist()))
        if empty:
            raise UserError(f"--data {self.path}: class {names[empty[0]]!r} has no readable image")
        return ImageSet(pixels, labels, names, ids, groups, notices, columns)

    def _decoded(self, rows: Ints) -> tuple[NDArray[np.uint8], Bools]:
        """Pixels of the readable ones of these ascending rows, and which those are."""
        side, _ = self._surveyed
        pixels = np.zeros((len(rows), side, side, 3), np.uint8)
        good = self._fill(rows, pixels.__setitem__)
        return pixels if good.all() else pixels[good], good

    def _fill(self, rows: Ints, write: Write) -> Bools:
        """Decode the images of these ascending rows and write them; gives which were readable."""
        side, _ = self._surveyed
        good = np.zeros(len(rows), dtype=bool)
        first = 0
        with ThreadPoolExecutor() as pool:
            for files in self._table.files():
                places = np.arange(*np.searchsorted(rows, (first, first + len(files))))
                asked = [files[row - first] for row in rows[places].tolist()]
                found = list(pool.map(lambda file: _read(file, side, self.target.levels), asked))
                good[places] = [image is not None for image in found]
                if good[places].any():
                    write(places[good[places]], np.stack([one for one in found if one is not None]))
                first += len(files)
        self._table.check_rows(first)
        self._check(self._table.ids[rows], good)
        return good

    def _check(self, ids: Text, good: Bools) -> None:
        if good.all() or (self.skip_broken and good.any()):
            return
        others = ", or leave them out with --skip-broken" if good.any() else ""
        raise UserError(
            f"--data {self.path}: {int((~good).sum())} of {len(ids)} images cannot be read "
            f"({listed(ids[~good])}); read are {KINDS} whose bytes are in the table; mend "
            f"them{others}"
        )

    @cached_property
    def _table(self) -> "HubTable":
        from folds.images.hub_table import HubTable  # Arrow, which other sources need not wait for

        return HubTable(self.path, self.parts)

    @cached_property
    def _labels(self) -> tuple[Ints, tuple[str, ...]]:
        return self._table.labels()

    @cached_property
    def _rows(self) -> Ints:
        """Rows that are read, ascending."""
        return stratified(*self._labels, self.limit, seed=self.seed)

    @cached_property
    def _columns(self) -> dict[str, Text]:
        """Groups and sites, if there are some, and the slices; of all rows."""
        table = self._table
        found = {name: table.texts(name) for name in ("group", SITE) if name in table.columns}
        for name in self.slices:
            if name not in table.columns:
                raise UserError(no_column(self.path, name, table.columns))
            found[name] = table.texts(name, gaps=True)
        return found

    @cached_property
    def _surveyed(self) -> tuple[int, list[str]]:
        """Side in pixels that the images are decoded to, and what the user must know of them."""
        with ThreadPoolExecutor() as pool:
            headers = [
                found
                for files in self._table.files()
                for found in pool.map(lambda file: header(io.BytesIO(file or b"")), files)
            ]
        return summed_up(self._table.ids.tolist(), headers, self.target)


def _read(file: bytes | None, side: int, levels: float | None) -> NDArray[np.uint8] | None:
    return None if file is None else read(io.BytesIO(file), side, levels)


def _left_out(ids: Text, good: Bools) -> list[str]:
    broken = ids[~good]
    count = counted(len(broken), "unreadable image")
    return [f"{count} left out: {listed(broken, most=10)}"] if len(broken) else []
