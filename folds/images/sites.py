"""Images of several sources, each a site of its own, as one image set."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from folds.errors import UserError
from folds.images.class_names import check_names
from folds.images.imageset import SITE, ImageSet, stratified
from folds.images.pixelfile import Pixels, PixelWriter, Shape, pieces
from folds.images.resize import cover


class OneSource(Protocol):
    """What `folds.images.source.Source` says of all kinds of sources."""

    @property
    def shape(self) -> Shape:
        """Of the decoded pixels, if all are readable."""
        ...

    def decode(self) -> ImageSet:
        """Decode into memory."""
        ...

    def decode_to(self, target: Path) -> ImageSet:
        """Decode into a file."""
        ...


@dataclass(frozen=True)
class SitesSource:
    """Labelled images of several sites, see `folds.images.source.Source`.

    Parameters
    ----------
    sites : mapping of str to OneSource
        By the names of the sites.
    size : int
        Side in pixels that images are brought to where the sites' have several.

    Notes
    -----
    Site A's image x.png is called A/x.png. Its group g is A/g, so no group spans two sites, and its
    own site s A/s.
    """

    sites: Mapping[str, OneSource]
    size: int

    @property
    def shape(self) -> Shape:
        """Of the decoded pixels, if all are readable."""
        sides = {source.shape[1] for source in self.sites.values()}
        side = sides.pop() if len(sides) == 1 else self.size
        return sum(source.shape[0] for source in self.sites.values()), side, side, 3

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded pixels, if all are readable."""
        return math.prod(self.shape)

    def decode(self) -> ImageSet:
        """Decode into memory."""
        side = self.shape[1]
        parts = {}
        for name, source in self.sites.items():
            try:
                images = source.decode()
            except UserError as error:
                raise of_site(error, name) from None
            parts[name] = replace(images, pixels=enlarged(images.pixels[:], side))
        return _united(parts, np.concatenate([part.pixels[:] for part in parts.values()]))

    def decode_to(self, target: Path) -> ImageSet:
        """Decode into a new `PixelFile`, one site after another; each has a file meanwhile."""
        parts, first = {}, 0
        with PixelWriter(target, self.shape) as writer:
            for name, source in self.sites.items():
                own = target.with_name(f"site-{target.name}")
                try:
                    parts[name] = images = source.decode_to(own)
                except UserError as error:
                    raise of_site(error, name) from None
                for rows in pieces(images.pixels.shape):
                    places = first + np.arange(rows.start, rows.stop)
                    writer.write(places, enlarged(images.pixels[rows], self.shape[1]))
                first += len(images)
                own.unlink()
            pixels = writer.finish(np.arange(first))
        return _united(parts, pixels)


def shared(limit: int, counts: Mapping[str, int]) -> dict[str, int]:
    """Share a number of images among sites as their own numbers are, one or more each.

    Raises
    ------
    UserError
        There are fewer images than sites.
    """
    names = tuple(counts)
    site = np.repeat(np.arange(len(names)), list(counts.values()))
    if limit < len(names):
        raise UserError(f"--limit {limit}: fewer images than the {len(names)} sites; raise it")
    chosen = np.bincount(site[stratified(site, names, limit, seed=0)], minlength=len(names))
    return dict(zip(names, chosen.tolist(), strict=True))


def enlarged(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Squares (N, s, s, 3) at another side, as `cover` would have made them."""
    if pixels.shape[1] == side:
        return pixels
    return np.stack([cover(Image.fromarray(image), side) for image in pixels])


def of_site(error: UserError, name: str, source: str = "") -> UserError:
    """The same error, which names the site that it is of."""
    text = str(error)
    return UserError(text.replace("--data ", f"--data {name}=", 1) if "--data " in text
                     else f"--data {name}={source}: {text}")  # fmt: skip


def _united(parts: Mapping[str, ImageSet], pixels: Pixels) -> ImageSet:
    """One image set of several, whose classes are united by name, in the order they come."""
    classes = tuple(dict.fromkeys(n for part in parts.values() for n in part.class_names))
    number = {name: label for label, name in enumerate(classes)}
    labels = [
        np.array([number[n] for n in part.class_names], np.int64)[part.labels]
        for part in parts.values()
    ]
    ids = _joined([_within(site, part.ids) for site, part in parts.items()])
    told = [f"{site}: {line}" for site, part in parts.items() for line in part.notices]
    source = " ".join(parts)
    return ImageSet(
        pixels,
        np.concatenate(labels),
        classes,
        ids,
        _joined([_within(site, part.groups) for site, part in parts.items()]),
        (*told, *check_names(source, classes, ids.tolist())),
        _columns(parts),
    )


def _columns(parts: Mapping[str, ImageSet]) -> dict[str, NDArray[np.str_]]:
    """The sites, and the slices, which all parts have alike."""
    sites = [
        np.full(len(part), site) if part.sites is None else _within(site, part.sites)
        for site, part in parts.items()
    ]
    slices = [name for name in next(iter(parts.values())).columns if name != SITE]
    others = {name: _joined([part.columns[name] for part in parts.values()]) for name in slices}
    return {SITE: _joined(sites), **others}


def _within(site: str, names: NDArray[np.str_]) -> NDArray[np.str_]:
    return np.strings.add(f"{site}/", names)


def _joined(parts: Sequence[NDArray[np.str_]]) -> NDArray[np.str_]:
    return np.concatenate(parts)
