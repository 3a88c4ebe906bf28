"""Frozen features on disk, by what they are made of: computed once for all trials of a search.

A file holds what a frozen front puts out for all images in one view. Its name is a digest of the
images, the front, its weights and the augmentation, so a file that is there is the right one,
whoever made it; it is sealed, and one that is damaged is made again. Processes that need the same
files divide the work between them.
"""

import fcntl
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from torch import Tensor

from folds.files import cache_folder, replacing, seal, seal_holds
from folds.runtime.device import Runtime
from folds.training.frozen import (
    FrozenFeatureExtractor,
    FrozenFeatures,
    no_frozen_features,
    shareable_views,
    to_array,
    to_tensor,
)
from folds.training.frozen_view import PLAIN, View
from folds.training.problem import Problem

_BATCH = 64  # images, whatever a trial trains with: their number moves the last bits
FORMAT = 2  # to be raised when equal names could mean other values


class FeatureCache:
    """The frozen features of one problem; a `folds.training.frozen.FrozenFeatures`.

    Parameters
    ----------
    problem : Problem
    runtime : Runtime
        Whose precision and layout count.
    weights : str
        `state_digest` of the problem's first weights.
    folder : Path
        Where the files are; several processes may use it at once.
    budget : int
        Bytes of all files. Those that were not used for longest make room; views that do not fit
        by themselves are not shared.

    Notes
    -----
    Which views are shared depends on the problem and the budget, never on what is there already.
    """

    def __init__(
        self, problem: Problem, runtime: Runtime, weights: str, folder: Path, budget: int
    ) -> None:
        self._problem, self._runtime = problem, runtime
        self._folder, self._budget = folder, budget
        self._extractor: FrozenFeatureExtractor | None = None
        self._whole: set[Path] = set()  # files that this process has found undamaged
        views = shareable_views(problem, budget)
        self._paths = {
            view: folder / f"{_name(problem, runtime, weights, view)}.npy" for view in views
        }

    def fill(self) -> int:
        """Compute what is missing, those first that nobody else computes.

        Returns
        -------
        int
            Views that this process has computed.
        """
        computed = 0
        for wait in (False, True):
            for view, path in self._paths.items():
                if not path.exists():
                    computed += self._compute(view, path, wait=wait)
        return computed

    def __call__(self, view: View) -> Tensor | None:
        """Outputs of all images in a view, shape (N, ...), or None where it is not shared."""
        if (path := self._paths.get(view)) is None:
            return None
        if (output := self._read(path)) is None:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            self._whole.discard(path)
            self._compute(view, path, wait=True)
            output = self._read(path)
        return self._outputs(view) if output is None else output

    def _read(self, path: Path) -> Tensor | None:
        try:
            if path not in self._whole and not seal_holds(path):
                return None
            self._whole.add(path)
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            path.touch()
        except (OSError, ValueError, EOFError):
            return None
        return to_tensor(array) if len(array) == len(self._problem.images) else None

    def _compute(self, view: View, path: Path, *, wait: bool) -> bool:
        """Write a view's file unless it is there; whether it was written now.

        A disk that is full or may not be written costs time only.
        """
        with suppress(OSError), _locked(path.with_suffix(".lock"), wait=wait) as ours:
            if ours and not path.exists():
                array = to_array(self._outputs(view))
                self._make_room(array.nbytes)
                with replacing(path, lasting=False) as scratch:
                    with scratch.open("wb") as file:
                        np.save(file, array)
                    seal(scratch)
                return True
        return False

    def _outputs(self, view: View) -> Tensor:
        if self._extractor is None:
            self._extractor = FrozenFeatureExtractor(self._problem, self._runtime, _BATCH)
        return self._extractor.outputs(view, 0, len(self._problem.images))

    def _make_room(self, nbytes: int) -> None:
        """Delete the files that were used least lately until there is room within the budget."""
        own, files = set(self._paths.values()), []
        for path in self._folder.glob("*.npy"):
            with suppress(OSError):  # somebody else has just deleted it
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        left = sum(size for _, size, _ in files) + nbytes - self._budget
        for _, size, path in sorted(files):
            if left > 0 and path not in own:
                path.unlink(missing_ok=True)
                path.with_suffix(".lock").unlink(missing_ok=True)
                left -= size


def frozen_features(
    problem: Problem, runtime: Runtime, weights: str, budget: int
) -> FrozenFeatures:
    """The cache of this machine's user for a problem, or none where there is nothing to share.

    Parameters
    ----------
    weights : str
        `state_digest` of the first weights; empty where they are random.
    budget : int
        Bytes; 0: nothing is shared.
    """
    if not (weights and budget):
        return no_frozen_features
    return FeatureCache(problem, runtime, weights, cache_folder() / "features", budget)


@contextmanager
def _locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock file for a block; False where another process has it and `wait` is not set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def _name(problem: Problem, runtime: Runtime, weights: str, view: View) -> str:
    """Digest of all that a view's outputs depend on."""
    config, images = problem.config, problem.images
    rows = hashlib.sha256("\n".join(images.ids.tolist()).encode()).hexdigest()
    seen: Sequence[object] = (
        () if view.epoch == PLAIN else (config.train.augment, config.split.seed)
    )
    content = [
        FORMAT, images.digest, rows, problem.backbone, weights, problem.size,
        config.model.pool, runtime.device.type, runtime.precision, runtime.channels_last,
        view.epoch, view.depth, *seen,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]
