"""Reading a source on one machine without holding all its pixels in memory."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from folds.config import DataConfig
from folds.errors import RunError
from folds.files import cache_folder
from folds.images.imageset import ImageSet
from folds.images.source import open_source

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
    source = open_source(config, seed=seed, largest=largest)
    if (count := source.nbytes) <= MOST:
        yield source.decode()
        return
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="inspect-") as place:
        try:
            images = source.decode_to(Path(place) / "pixels.npy")
        except OSError as error:
            raise RunError(
                f"{place}: no room for {count / 1e9:.1f} GB of pixels ({error.strerror}); "
                "set XDG_CACHE_HOME to a larger disk, or pass --limit"
            ) from None
        yield images
