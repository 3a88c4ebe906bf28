"""Bringing in the images of a run: in memory, or in a file when they are too many for it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ray.exceptions import RayError

from distributed.data import localize, scratch
from distributed.data.memory import available_memory
from distributed.data.ray_data import decode
from folds.config import ClusterConfig, DataConfig
from folds.errors import RunError, UserError, reason
from folds.images import ImageSet
from folds.images.source import open_source

if TYPE_CHECKING:
    from folds.prepare import Loader as AnyLoader

# In memory images are there twice, in the command and in Ray's object store; reading them from a
# file costs next to nothing, since the system keeps in memory what it has room for.
SHARE, MOST = 0.4, 2**28  # of the free memory; bytes
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
        self._folders: list[Path] = []

    def __call__(self, config: DataConfig, *, seed: int, largest: int) -> ImageSet:
        """Load as `folds.images.load` does.

        Raises
        ------
        UserError
            As there, or there is no room for the file.
        """
        source = open_source(config, seed=seed, largest=largest, decoder=decode)
        stream, few = self._config.stream, min(SHARE * available_memory(), MOST)
        if stream == "off" or (stream == "auto" and source.nbytes <= few):
            return source.decode()
        with self._target(source.nbytes) as target:
            return replace(source.decode_to(target), pixels=localize.NodeFile(target))

    def close(self) -> None:
        """Delete the files here and their copies on other machines."""
        for folder in self._folders:
            localize.forget(self._config.stream_dir, folder)
            scratch.remove(folder)
        self._folders.clear()

    @contextmanager
    def _target(self, nbytes: int) -> Iterator[Path]:
        """Give a place for the file; errors within the block become one line for the user.

        Parameters
        ----------
        nbytes : int
            That the pixels take.

        Raises
        ------
        UserError
            There is no room, or nothing can be written there.
        RunError
            Ray failed.
        """
        self._start()  # it fills the file, and takes it to the other machines
        place = scratch.root(self._config.stream_dir)
        self._folders.append(folder := scratch.new(place))
        free = shutil.disk_usage(folder).free
        if nbytes > free:
            raise UserError(
                f"--stream-dir {place}: the images take {nbytes / 1e9:.1f} GB and the disk has "
                f"{free / 1e9:.1f}; name a folder on a larger disk, or lower --image-size"
            )
        self._tell(f"images are kept in {folder}, up to {nbytes / 1e9:.1f} GB")
        try:
            yield folder / _FILE
        except OSError as error:
            raise UserError(
                f"--stream-dir {place}: {error.strerror}; name another folder"
            ) from None
        except RayError as error:
            why = reason(error, most=300)
            raise RunError(f"the images could not be decoded: {why}") from None


class LoadedOnce:
    """A loader that remembers what it has loaded.

    Parameters
    ----------
    load : callable
        As `folds.images.load`.
    """

    def __init__(self, load: "AnyLoader") -> None:
        self._load = load
        self._loaded: dict[tuple[str, int, int], ImageSet] = {}

    def __call__(self, config: DataConfig, *, seed: int, largest: int) -> ImageSet:
        """Load what a configuration names, or remember it."""
        key = config.model_dump_json(), seed, largest
        if key not in self._loaded:
            self._loaded[key] = self._load(config, seed=seed, largest=largest)
        return self._loaded[key]
