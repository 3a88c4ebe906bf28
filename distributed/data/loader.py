"""Bringing in the images of a run: in memory, or in a file when they are too many for it."""

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from ray.exceptions import RayError

from distributed.data import localize, scratch
from distributed.data.memory import available_memory
from distributed.data.ray_data import decode
from folds.config import ClusterConfig, DataConfig
from folds.errors import RunError, UserError
from folds.images import ImageSet, folder, load, npz
from folds.images.folder import Listing
from folds.images.pixelfile import PixelWriter, pieces
from folds.images.source import decoded_size, path_of, survey

SHARE = 0.4  # of the free memory; in memory mode images are there twice for a while
_FILE = "pixels.npy"


class Loader:
    """Brings in the images, in memory or in a file; `close` it when the run has ended.

    Parameters
    ----------
    config : ClusterConfig
        Of which `stream` and `stream_dir` count.
    start : callable
        Starts Ray; called if images are to be kept in a file.
    tell : callable
        Is given a line for the user.

    Notes
    -----
    Labels, ids, pixels and digest do not depend on where the images are kept.
    """

    def __init__(
        self, config: ClusterConfig, start: Callable[[], None], tell: Callable[[str], None]
    ) -> None:
        self._config, self._start, self._tell = config, start, tell
        self._folder: Path | None = None

    def __call__(self, config: DataConfig, *, seed: int, largest: int) -> ImageSet:
        """Load as `folds.images.load` does.

        Raises
        ------
        UserError
            As there, or there is no room for the file.
        """
        path, size = path_of(config.data), decoded_size(config, largest)
        if self._config.stream == "off" or (path is None and self._config.stream == "auto"):
            return load(config, seed=seed, largest=largest)
        if path is None:
            images = load(config, seed=seed, largest=largest)
            with self._target(images.pixels.nbytes) as target:
                return _copied(images, target)
        if (listing := survey(path, size, limit=config.limit, seed=seed)) is not None:
            if not self._wanted(math.prod(listing.shape)):
                return folder.decode(listing, skip_broken=config.skip_broken)
            return self._decoded(listing, skip_broken=config.skip_broken)
        nbytes = npz.decoded_bytes(path, size)
        if not self._wanted(nbytes):
            return load(config, seed=seed, largest=largest)
        with self._target(nbytes) as target:
            return _placed(npz.stream(path, size, target, limit=config.limit, seed=seed), target)

    def close(self) -> None:
        """Delete the file here and its copies on other machines."""
        if self._folder is not None:
            localize.forget(self._config.stream_dir, self._folder)
            scratch.remove(self._folder)
            self._folder = None

    def _wanted(self, nbytes: int) -> bool:
        return self._config.stream == "on" or nbytes > SHARE * available_memory()

    def _decoded(self, listing: Listing, *, skip_broken: bool) -> ImageSet:
        with self._target(math.prod(listing.shape)) as target:
            with PixelWriter(target, listing.shape) as writer:
                good = decode(listing, writer)
                listing.check(good, skip_broken=skip_broken)
                pixels = writer.finish(np.flatnonzero(good))
            return _placed(listing.images(pixels, good), target)

    @contextmanager
    def _target(self, nbytes: int) -> Iterator[Path]:
        """A place for the file, with Ray at hand to fill it and to give it away."""
        self._start()
        place = scratch.root(self._config.stream_dir)
        self._folder = scratch.new(place)
        free = shutil.disk_usage(self._folder).free
        if nbytes > free:
            raise UserError(
                f"--stream-dir {place}: the images take {nbytes / 1e9:.1f} GB and the disk has "
                f"{free / 1e9:.1f}; name a folder on a larger disk, or lower --image-size"
            )
        self._tell(f"images are kept in {self._folder}, up to {nbytes / 1e9:.1f} GB")
        try:
            yield self._folder / _FILE
        except OSError as error:
            raise UserError(
                f"--stream-dir {place}: {error.strerror}; name another folder"
            ) from None
        except RayError as error:
            reason = " ".join(str(error).split())[:300]
            raise RunError(f"the images could not be decoded: {reason}") from None


def _placed(images: ImageSet, target: Path) -> ImageSet:
    return replace(images, pixels=localize.NodeFile(target))


def _copied(images: ImageSet, target: Path) -> ImageSet:
    with PixelWriter(target, images.pixels.shape) as writer:
        for rows in pieces(images.pixels.shape):
            writer.write(np.arange(rows.start, rows.stop), images.pixels[rows])
        writer.finish()
    return _placed(images, target)
