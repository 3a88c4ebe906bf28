"""One type for every source of images: what it is, how much it holds, and how it is decoded."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from folds.config import DataConfig
from folds.errors import UserError
from folds.images import folder, medmnist, npz, table
from folds.images.class_names import check_ids, check_names
from folds.images.embedded import EmbeddedSource
from folds.images.imageset import ImageSet
from folds.images.listing import Decoder, FileSource, Unlabelled, decode_in_threads
from folds.images.npz import NpzSource
from folds.images.pixelfile import Shape, write_pixels
from folds.images.places import BUILT_IN, hub_parts, path_of
from folds.images.resize import shrink
from folds.images.sites import SitesSource, of_site, shared
from folds.images.survey import Target


@dataclass(frozen=True)
class BuiltIn:
    """Images that come with the program: few, so they are in memory from the beginning."""

    images: ImageSet

    @property
    def shape(self) -> Shape:
        """Of the pixels."""
        return self.images.pixels.shape

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        return self.images.pixels.nbytes

    def decode(self) -> ImageSet:
        """Give the images."""
        return self.images

    def decode_to(self, target: Path) -> ImageSet:
        """Copy the pixels into a file."""
        pixels = write_pixels(target, self.images.pixels, np.arange(len(self.images)))
        return replace(self.images, pixels=pixels)


# Labelled images before they are decoded. All kinds have
# - shape: of the decoded pixels, if all are readable
# - nbytes: what the decoded pixels take at most; soon told, as nothing is decoded for it
# - decode(): into memory
# - decode_to(target): into a new `PixelFile`, with little memory; its disk may be full
# Both ways give the same images, whatever the order in which a file system lists files, and raise
# `UserError` where the source is damaged or not in a known layout.
Source = BuiltIn | FileSource | NpzSource | EmbeddedSource | SitesSource


def open_source(
    config: DataConfig, *, seed: int, largest: int, decoder: Decoder = decode_in_threads
) -> Source:
    """Find the labelled images that a configuration names.

    Parameters
    ----------
    config : DataConfig
        Source, limit, slices, image size, levels and whether broken files are skipped.
    seed : int
        Seed of the stratified subset.
    largest : int
        Side in pixels that images have at most, and that those of mixed sizes are brought to, when
        ``config.image_size`` is ``"auto"``.
    decoder : callable
        How ``decode_to`` decodes image files, see `FileSource`.

    Returns
    -------
    Source
        Of at most ``config.limit`` images.

    Raises
    ------
    UserError
        There is no such source, or a folder or table names no usable files.
    """
    if config.sources:
        return _open_sites(config, seed=seed, largest=largest, decoder=decoder)
    size = largest if config.image_size == "auto" else config.image_size
    target = Target(size, auto=config.image_size == "auto", levels=config.levels)
    path = path_of(config.told)
    if path is None:
        return _open_named(config, target, seed=seed)
    parts, told = hub_parts(path)
    if parts:
        how = config.limit, seed, config.slices, config.skip_broken, told
        return EmbeddedSource(path, parts, target, *how)
    if path.is_dir():
        _refuse_slices(config)
        listing = folder.survey(path, target, limit=config.limit, seed=seed)
    elif path.suffix.lower() in table.SUFFIXES:
        listing = table.survey(path, target, limit=config.limit, seed=seed, slices=config.slices)
    else:
        return NpzSource(path, target.size, target.auto, config.limit, seed, config.slices)
    notices = check_names(path, listing.class_names, listing.ids.tolist())
    listing = replace(listing, notices=(*listing.notices, *notices))
    return FileSource(listing, config.skip_broken, decoder)


def _open_named(config: DataConfig, target: Target, *, seed: int) -> BuiltIn | NpzSource:
    """Images that a name stands for, and no path."""
    _refuse_slices(config)
    if (one := medmnist.named(config.told)) is not None:
        how = target.size, target.auto, config.limit, seed
        parts, told = one.parts, one.notices
        return NpzSource(one.file(), *how, parts=parts, class_names=one.class_names, notices=told)
    images = BUILT_IN[config.told]()
    images = replace(images, pixels=shrink(images.pixels[:], target.size))
    return BuiltIn(images.limited(config.limit, seed=seed))


def _open_sites(config: DataConfig, *, seed: int, largest: int, decoder: Decoder) -> SitesSource:
    """Find the images of several sources; those of each site get its share of the limit.

    Where the sites' images have several sizes they are brought to one, as mixed sizes of one
    source are.
    """
    settings = {
        name: config.model_copy(update={"data": source, "limit": None})
        for name, source in config.sources.items()
    }

    def opened() -> dict[str, Source]:
        return {
            name: _at_site(name, own, seed=seed, largest=largest, decoder=decoder)
            for name, own in settings.items()
        }

    sources = opened()
    mixed = len({source.shape[1] for source in sources.values()}) > 1
    if mixed and config.image_size == "auto":
        settings = {n: s.model_copy(update={"image_size": largest}) for n, s in settings.items()}
        sources = opened()
    if config.limit is not None:
        counts = {name: source.shape[0] for name, source in sources.items()}
        for name, limit in shared(config.limit, counts).items():
            settings[name] = settings[name].model_copy(update={"limit": limit})
        sources = opened()
    size = largest if config.image_size == "auto" else config.image_size
    return SitesSource(sources, size)


def _at_site(name: str, config: DataConfig, *, seed: int, largest: int, decoder: Decoder) -> Source:
    """Find the images of one of several sources.

    Raises
    ------
    UserError
        As `open_source`; it names the site.
    """
    try:
        return open_source(config, seed=seed, largest=largest, decoder=decoder)
    except UserError as error:
        raise of_site(error, name, config.told) from None


def _refuse_slices(config: DataConfig) -> None:
    """Refuse slices where nothing can tell them."""
    if config.slices:
        raise UserError(
            f"--slices {','.join(config.slices)}: --data {config.told} has no columns; give a "
            "table or an .npz file that has them"
        )


def load(config: DataConfig, *, seed: int, largest: int) -> ImageSet:
    """Read the labelled images that a configuration names into memory.

    Parameters
    ----------
    config, seed, largest
        See `open_source`.

    Returns
    -------
    ImageSet
        At most ``config.limit`` images.

    Raises
    ------
    UserError
        The source is missing, empty, damaged, or not in a known layout.
    """
    return open_source(config, seed=seed, largest=largest).decode()


def load_unlabelled(
    source: str, *, size: int, levels: float | None = None, skip_broken: bool = False
) -> Unlabelled:
    """Read images for prediction; labels are not needed and not looked at.

    Parameters
    ----------
    source : str
        Any source of `load`, a folder with image files at any depth, or a table of paths alone.
    size : int
        Side of the network's input in pixels.
    levels : float, optional
        See `folds.images.decode.decode`.
    skip_broken : bool
        Leave out image files that cannot be read, with a notice.

    Returns
    -------
    Unlabelled
        Pixels as `load` with this size would give them, or in their own size, which a predictor
        brings to the network's by the same rule.

    Raises
    ------
    UserError
        As `load`.
    """
    path, target = path_of(source), Target(size, levels=levels)
    if path is None:
        if (one := medmnist.named(source)) is not None:
            return npz.load_unlabelled(one.file(), (one.part,) if one.part else npz.ALL_PARTS)
        built_in = BUILT_IN[source]()
        return Unlabelled(built_in.pixels[:], built_in.ids)
    parts, _ = hub_parts(path, train=False)
    if parts:
        return EmbeddedSource(path, parts, target, skip_broken=skip_broken).unlabelled()
    if path.is_dir():
        images = folder.load_unlabelled(path, target, skip_broken=skip_broken)
    elif path.suffix.lower() in table.SUFFIXES:
        images = table.load_unlabelled(path, target, skip_broken=skip_broken)
    else:
        images = npz.load_unlabelled(path)
    check_ids(path, images.ids.tolist())
    return images


def list_unlabelled(source: str) -> tuple[Path, NDArray[np.str_], list[str]]:
    """Image files for prediction, without reading them.

    Returns
    -------
    root : Path
        That the names are relative to.
    ids : ndarray of str, shape (N,)
    notices : list of str
        What was passed over.

    Raises
    ------
    UserError
        As `load_unlabelled`; or the source's images are no files.
    """
    path = path_of(source)
    if path is None or root_of(source) is None:
        raise UserError(
            f"--data {source}: its images are no files; give a folder or a table of paths, "
            "or use python -m tracking.predict"
        )
    if path.is_dir():
        ids, notices = folder.list_unlabelled(path)
        root = path
    else:
        (root, ids), notices = table.list_unlabelled(path), []
    check_ids(path, ids.tolist())
    return root, ids, notices


def files_of(config: DataConfig, ids: NDArray[np.str_]) -> list[Path]:
    """The files of the images of these ids; those of images that are no files are left out."""
    if not config.sources:
        root = root_of(config.told)
        return [] if root is None else [root / name for name in ids.tolist()]
    roots = {name: root_of(source) for name, source in config.sources.items()}
    parts = (name.partition("/") for name in ids.tolist())
    return [root / own for site, _, own in parts if (root := roots[site]) is not None]


def root_of(source: str) -> Path | None:
    """The folder that a source's ids are relative to; None if its images are no files."""
    path = path_of(source)
    if path is None or hub_parts(path)[0]:
        return None
    if path.is_dir():
        return path
    return table.root_of(path) if path.suffix.lower() in table.SUFFIXES else None
