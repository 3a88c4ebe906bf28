"""One function for every source of images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from folds.config import DataConfig
from folds.errors import UserError, nearest
from folds.images import demo, folder, npz, table
from folds.images.folder import Listing
from folds.images.imageset import ImageSet
from folds.images.resize import shrink

_BUILT_IN = {"demo": demo.load, "digits": demo.load_digits}


def load(config: DataConfig, *, seed: int, largest: int) -> ImageSet:
    """Read the labelled images that a configuration names.

    Parameters
    ----------
    config : DataConfig
        Source, limit and image size.
    seed : int
        Seed of the stratified subset.
    largest : int
        Side in pixels that image files of mixed or greater size are reduced to when
        ``config.image_size`` is ``"auto"``.

    Returns
    -------
    ImageSet
        At most ``config.limit`` images.

    Raises
    ------
    UserError
        The source is missing, empty, damaged, or not in a known layout.

    Notes
    -----
    The result does not depend on the order in which a file system lists files.
    """
    size, path = decoded_size(config, largest), path_of(config.data)
    if path is None:
        images = _BUILT_IN[config.data]()
        images = replace(images, pixels=shrink(images.pixels[:], size))
    elif (listing := survey(path, size, limit=config.limit, seed=seed)) is not None:
        images = folder.decode(listing, skip_broken=config.skip_broken)
    else:
        images = npz.load(path, size)
    return images.limited(config.limit, seed=seed)


def survey(path: Path, size: int, *, limit: int | None, seed: int) -> Listing | None:
    """List the image files that a source names; None for an .npz, whose images are in it.

    Raises
    ------
    UserError
        As `load`, but for files that cannot be read.
    """
    if path.is_dir():
        return folder.survey(path, size, limit=limit, seed=seed)
    if path.suffix.lower() in table.SUFFIXES:
        return table.survey(path, size, limit=limit, seed=seed)
    return None


def load_unlabelled(source: str, *, size: int) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Read images for prediction; labels are not needed and not looked at.

    Parameters
    ----------
    source : str
        Any source of `load`, a folder with image files at any depth, or a table of paths alone.
    size : int
        Side in pixels for image files of mixed or greater size.

    Returns
    -------
    pixels : ndarray of uint8, shape (N, H, W, 3)
    ids : ndarray of str, shape (N,)

    Raises
    ------
    UserError
        As `load`.
    """
    path = path_of(source)
    if path is None:
        images = _BUILT_IN[source]()
        return images.pixels[:], images.ids
    if path.is_dir():
        return folder.load_unlabelled(path, size)
    if path.suffix.lower() in table.SUFFIXES:
        return table.load_unlabelled(path, size)
    return npz.load_unlabelled(path)


def decoded_size(config: DataConfig, largest: int) -> int:
    """Side in pixels that larger images, and files of mixed sizes, are reduced to."""
    return largest if config.image_size == "auto" else config.image_size


def path_of(source: str) -> Path | None:
    """Where a source lies; None if it is built in.

    Raises
    ------
    UserError
        There is no such source.
    """
    if source in _BUILT_IN:
        return None
    path = Path(source).expanduser()
    if path.is_dir() or (path.is_file() and path.suffix.lower() in (".npz", *table.SUFFIXES)):
        return path
    if path.is_file():
        raise UserError(
            f"--data {source}: not an .npz file; give one, a .csv or .parquet table, a folder of "
            f"class folders, or {' or '.join(_BUILT_IN)}"
        )
    near = nearest(source, [*_BUILT_IN, *_siblings(path)])
    raise UserError(f"--data {source}: no such file or folder{near}")


def _siblings(path: Path) -> list[str]:
    if not path.parent.is_dir():
        return []
    return [str(path.parent / entry.name) for entry in path.parent.iterdir()]
