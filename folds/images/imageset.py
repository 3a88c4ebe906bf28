"""The image set: what every later step is given."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from folds.errors import UserError
from folds.images.pixelfile import PixelFile, Pixels, pieces

SITE = "site"  # the column that says where an image was taken


@dataclass(frozen=True)
class ImageSet:
    """Labelled images.

    Parameters
    ----------
    pixels : ndarray of uint8 or PixelFile, shape (N, H, W, 3)
        RGB values, 0 to 255; in memory, or in a file when they are too many for it.
    labels : ndarray of int64, shape (N,)
        Index into `class_names`.
    class_names : tuple of str
        At least two, each with at least one image.
    ids : ndarray of str, shape (N,)
        Stable, unique names: a path inside the source, or a row number.
    groups : ndarray of str, shape (N,)
        Images of one group (patient, slide) are never divided between folds; by default each
        image is its own group.
    notices : tuple of str
        What was left out or changed while reading; told to the user and kept with the run.
    columns : mapping of str to ndarray of str, shape (N,)
        What else is known of each image, by name: ``site``, where it was taken, and the columns of
        ``--slices``. An empty text: not known.

    Raises
    ------
    UserError
        The parts do not fit together.

    Notes
    -----
    Images keep their columns wherever they keep their groups.
    """

    pixels: Pixels
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    notices: tuple[str, ...] = field(default=())
    columns: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = len(self.pixels)
        for name in ("labels", "ids", "groups"):
            if (count := len(getattr(self, name))) != size:
                raise UserError(f"{count} {name} for {size} images: give one for each image")
        for name, values in self.columns.items():
            if len(values) != size:
                raise UserError(
                    f"{len(values)} values of {name} for {size} images: give one for each image"
                )
        if len(self.class_names) < 2:
            raise UserError(
                f"only one class ({', '.join(self.class_names)}); classification needs at least "
                "two: give each a folder, or a label, of its own"
            )
        if len(np.unique(self.ids)) != size:
            raise UserError("image ids are not unique: rename the images that share a name")

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def sites(self) -> NDArray[np.str_] | None:
        """Where each image was taken (N,), if that is known."""
        return self.columns.get(SITE)

    @property
    def counts(self) -> dict[str, int]:
        """Images of each class."""
        number = np.bincount(self.labels, minlength=len(self.class_names))
        return dict(zip(self.class_names, number.tolist(), strict=True))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over ids, labels, class names and pixels, first 16 hexadecimal digits.

        It tells neither where the pixels are nor in which order the images come, nor what groups
        and columns they have.
        """
        order = np.argsort(self.ids, kind="stable")
        hasher = hashlib.sha256()
        for part in (self.ids[order], np.array(self.class_names)):
            hasher.update("\n".join(part.tolist()).encode())
        hasher.update(self.labels[order].tobytes())
        hasher.update(self.digests[order].tobytes())
        return hasher.hexdigest()[:16]

    @cached_property
    def digests(self) -> NDArray[np.uint8]:
        """SHA-256 (N, 32) of each image's pixels."""
        return np.frombuffer(b"".join(digests(self.pixels)), np.uint8).reshape(-1, 32)

    def take(self, rows: NDArray[np.int64]) -> "ImageSet":
        """The images of these rows, in this order, in memory."""
        return self._with(self.pixels[rows], rows)

    def kept(self, rows: NDArray[np.int64]) -> "ImageSet":
        """The images of these ascending rows; a file of pixels gives way to a smaller one."""
        pixels = self.pixels
        return self._with(
            pixels.kept(rows) if isinstance(pixels, PixelFile) else pixels[rows], rows
        )

    def _with(self, pixels: Pixels, rows: NDArray[np.int64]) -> "ImageSet":
        return replace(
            self,
            pixels=pixels,
            labels=self.labels[rows],
            ids=self.ids[rows],
            groups=self.groups[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
        )

    def limited(self, size: int | None, *, seed: int) -> "ImageSet":
        """A stratified subset of `size` images, in the order they have here.

        Each class keeps its share to within one image; classes too rare for one get one, from
        the greatest classes' share.

        Raises
        ------
        UserError
            The subset would hold fewer images than classes.
        """
        if size is None or size >= len(self):
            return self
        return self.take(stratified(self.labels, self.class_names, size, seed=seed))


def stratified(
    labels: NDArray[np.int64], class_names: tuple[str, ...], size: int | None, *, seed: int
) -> NDArray[np.int64]:
    """Rows of a stratified subset in ascending order, see `ImageSet.limited`; None: all."""
    if size is None or size >= len(labels):
        return np.arange(len(labels))
    if size < len(class_names):
        raise UserError(
            f"--limit {size}: fewer images than the {len(class_names)} classes; raise the limit"
        )
    share = np.bincount(labels, minlength=len(class_names)) * size / len(labels)
    quota = np.maximum(np.floor(share).astype(int), 1)
    for label in np.argsort(quota - share, kind="stable")[: max(0, size - quota.sum())]:
        quota[label] += 1
    while quota.sum() > size:  # rare classes were given one image
        quota[np.argmax(np.where(quota > 1, quota - share, -np.inf))] -= 1
    rng = np.random.default_rng(seed)
    rows = [
        rng.permutation(np.flatnonzero(labels == label))[:count]
        for label, count in enumerate(quota)
    ]
    return np.sort(np.concatenate(rows))


def digests(pixels: Pixels) -> list[bytes]:
    """SHA-256 of the pixels of each image."""
    return [
        hashlib.sha256(image.data).digest()
        for rows in pieces(pixels.shape)
        for image in np.ascontiguousarray(pixels[rows])
    ]


def singletons(ids: NDArray[np.str_]) -> NDArray[np.str_]:
    """Groups of one image each."""
    return ids.copy()
