"""Reading a source on one machine without holding all its pixels in memory."""

import math
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from folds.config import DataConfig
from folds.errors import RunError
from folds.files import cache_folder
from folds.images import folder, npz
from folds.images.folder import Listing
from folds.images.imageset import ImageSet
from folds.images.pixelfile import PixelWriter, pieces
from folds.images.source import decoded_size, load, path_of

MOST = 2**30  # bytes of pixels that are held in memory


@contextmanager
def opened(config: DataConfig, *, seed: int, largest: int) -> Iterator[ImageSet]:
    """Load images as `folds.images.load` does, into a file if they are many.

    The file lies in the user's cache and is deleted at the end of the block.

    Raises
    ------
    UserError
        As there.
    RunError
        There is no room for the file.
    """
    path, size = path_of(config.data), decoded_size(config, largest)
    listing = None
    if path is None:
        count = 0
    elif path.is_dir():
        listing = folder.survey(path, size, limit=config.limit, seed=seed)
        count = math.prod(listing.shape)
    else:
        count = npz.decoded_bytes(path, size)
    if path is None or count <= MOST:
        yield load(config, seed=seed, largest=largest)
        return
    with _scratch() as target:
        try:
            if listing is not None:
                images = _decoded(listing, target, skip_broken=config.skip_broken)
            else:
                images = npz.stream(path, size, target, limit=config.limit, seed=seed)
        except OSError as error:
            raise RunError(
                f"{target.parent}: no room for {count / 1e9:.1f} GB of pixels ({error.strerror}); "
                "set XDG_CACHE_HOME to a larger disk, or pass --limit"
            ) from None
        yield images


@contextmanager
def _scratch() -> Iterator[Path]:
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="inspect-") as place:
        yield Path(place) / "pixels.npy"


def _decoded(listing: Listing, target: Path, *, skip_broken: bool) -> ImageSet:
    """Decode files a piece at a time."""
    side, files = listing.side if listing.resize else None, listing.files
    good = np.zeros(len(files), dtype=bool)
    with PixelWriter(target, listing.shape) as writer:
        with ThreadPoolExecutor() as pool:
            for rows in pieces(listing.shape):
                found = list(pool.map(lambda file: folder.read(file, side), files[rows]))
                good[rows] = [image is not None for image in found]
                if good[rows].any():
                    there = np.stack([image for image in found if image is not None])
                    writer.write(rows.start + np.flatnonzero(good[rows]), there)
        listing.check(good, skip_broken=skip_broken)
        pixels = writer.finish(np.flatnonzero(good))
    return listing.images(pixels, good)
