"""The folder of a run while it is not finished: what ``--resume`` goes on from.

::

    .crossfold/NAME/run.json        format, settings, and digests of what the run depends on
                    images.npz      ids and digests of the images
                    runtime.json    precision, layout and compilation of all folds
                    lanes.json      who trains what just now
                    mlflow.json     ids of the MLflow runs, and how far the Recorder is
                    labels.npy      of all images
                    events.jsonl    everything that happened, in order
                    fold-0/         checkpoint.pt while it is trained, then the result:
                                    bundle/, result.npz, and result.json, written last

Every file has a checksum (`folds.files`), and what is damaged is not used: of a checkpoint and of
the small files there is the one before, and a fold without any begins again.
"""

import contextlib
import io
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from folds.arrays import Ints
from folds.config import Config
from folds.errors import UserError
from folds.files import DamagedError, read_sealed, write_sealed, write_values, write_whole
from folds.training.outcome import VALUES, FoldOutcome
from tracking import run_folder
from tracking.run_folder import ROOT, RunFolder, begun
from tracking.run_folder import Kind as Kind
from tracking.run_folder import hold as hold

if TYPE_CHECKING:
    from folds.images import ImageSet

FORMAT = 3  # of the folder; an older one has no checksums


@dataclass(frozen=True)
class Workspace(RunFolder):
    """Paths of one run, and what is written there."""

    @property
    def images(self) -> Path:
        """What the images were when the run began, see `folds.images.changes`."""
        return self.folder / "images.npz"

    @property
    def runtime(self) -> Path:
        """How all folds are computed, once that is settled."""
        return self.folder / "runtime.json"

    @property
    def standing(self) -> Path:
        """Who trains what, see `distributed.lanes.standing`."""
        return self.folder / "lanes.json"

    def checkpoint(self, task: int) -> Path:
        """A fold's checkpoint."""
        return self.fold(task) / "checkpoint.pt"

    def finished(self, task: int) -> bool:
        """Whether a fold's outcome is complete; its last file is written last."""
        return (self.fold(task) / VALUES).exists()

    def write_labels(self, labels: Ints) -> None:
        """Keep the labels of all images, shape (N,), for who has the run's folder alone."""
        file = io.BytesIO()
        np.save(file, labels)
        write_sealed(self.labels, file.getvalue())

    def write_checkpoint(self, task: int, content: bytes) -> None:
        """Replace a fold's checkpoint; the one before is kept until the next."""
        write_sealed(self.checkpoint(task), content, before=self._before(task))

    def read_checkpoint(self, task: int) -> tuple[bytes | None, str | None]:
        """A fold's last whole checkpoint, and what is to be told of one that is damaged.

        A damaged one is deleted, so that who asks again gets the same.
        """
        told = None
        for path, instead in (
            (self.checkpoint(task), "the one before is used"),
            (self._before(task), "the fold begins again"),
        ):
            try:
                return read_sealed(path), told
            except FileNotFoundError:
                continue
            except DamagedError as error:
                path.unlink()
                told = f"{error}; {instead}"
        return None, told and told.replace("the one before is used", "the fold begins again")

    def _before(self, task: int) -> Path:
        return self.fold(task) / "checkpoint.before.pt"

    def drop_damaged(self, task: int) -> str | None:
        """Delete a finished fold whose files are damaged; what is to be told of it."""
        try:
            self.read_outcome(task)
        except DamagedError as error:
            (self.fold(task) / VALUES).unlink()
            return f"{error}; the fold begins again"
        return None

    def write_outcome(self, task: int, outcome: FoldOutcome, bundle: dict[str, bytes]) -> None:
        """Keep a finished fold: the files of its model, then all else, which makes it complete."""
        for name, content in bundle.items():
            write_whole(self.bundle(task) / name, content)
        folder = self.bundle(task).name
        outcome.write(self.fold(task), {f"{folder}/{name}": bundle[name] for name in bundle})
        self.checkpoint(task).unlink(missing_ok=True)
        self._before(task).unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the folder, and the root when it is the last."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # another run is in it, or was quicker
            ROOT.rmdir()


def find(name: str, kind: Kind = "run") -> Workspace:
    """Find what ``--resume`` names, see `tracking.run_folder.find`."""
    return Workspace(run_folder.find(name, kind).folder)


def read_settings(space: Workspace) -> dict[str, Any]:
    """Settings by flag name that an interrupted run began with.

    Raises
    ------
    UserError
        Another version of crossfold began it.
    """
    stored = begun(space)
    if stored.get("format") != FORMAT:
        raise UserError(
            f"--resume {space.name}: another version of crossfold began it, or its run.json is "
            "damaged; let that version end it, or start a new run"
        )
    return stored["config"]


def read_options(space: Workspace) -> dict[str, Any]:
    """What an interrupted search was asked for, see `open_run`."""
    options: dict[str, Any] = begun(space)["search"]
    return options


def _make(folder: Path) -> None:
    """Make a folder, also where another run that ends takes the root away just now."""
    for _ in range(3):
        with contextlib.suppress(FileNotFoundError):
            return folder.mkdir(parents=True)
    return folder.mkdir(parents=True)


def open_run(
    resumed: str | None,
    config: Config,
    digests: dict[str, str],
    images: "ImageSet",
    search: dict[str, Any] | None = None,
) -> Workspace:
    """Make the folder of a new run, or check that of an interrupted one.

    Parameters
    ----------
    resumed : str, optional
        Name of the run to go on with.
    config : Config
        Its settings.
    digests : dict
        Of settings, images, splits and weights.
    images : ImageSet
        What it is trained on.
    search : dict, optional
        Of a search: what it was asked for beside the settings.

    Raises
    ------
    UserError
        The images, splits or weights are no longer those the run began with.
    """
    from folds.images.changes import write_manifest  # reads images; the ledger does without

    if resumed is not None:
        space = Workspace(ROOT / resumed)
        stored = begun(space)["digests"]
        changed = [name for name, value in digests.items() if stored[name] != value]
        if "data_digest" in changed:
            raise UserError(
                f"--resume {resumed}: {_changes(space, images)} since the run began; restore what "
                "was there, or start a new run"
            )
        if changed:
            raise UserError(
                f"--resume {resumed}: {', '.join(changed)} differ from when the run began; "
                "restore them, or start a new run"
            )
        return space
    stamp = time.strftime("%Y%m%d-%H%M%S")
    name = _word(config.model.backbone) if search is None else "search"
    space = Workspace(ROOT / f"{name}-{stamp}-{os.getpid()}")
    content = {"format": FORMAT, "config": config.flat(), "digests": digests}
    if search is not None:
        content |= {"kind": "search", "search": search}
    try:
        _make(space.folder)
        write_manifest(space.images, images)
        write_values(space.folder / "run.json", content)
    except OSError as error:
        space.remove()
        raise UserError(
            f"{ROOT.resolve()}: {error.strerror}; run in a folder that can be written to"
        ) from None
    return space


def _changes(space: Workspace, images: "ImageSet") -> str:
    """What is another image than when a run began."""
    from folds.images.changes import changes

    try:
        return changes(space.images, images) or "the order of classes changed"
    except (OSError, DamagedError):
        return "images changed"


def _word(backbone: str) -> str:
    """The part of a backbone's name that tells it, as part of a folder's name."""
    last = re.split(r"[/:]", backbone.partition("{")[0].rstrip("/"))[-1]
    return re.sub(r"[^\w-]+", "-", last.partition(".")[0]) or "run"


def begin(space: Workspace, start: Callable[[], None], resumed: str | None) -> None:
    """Wait until Ray is there; where it does not come, nothing has been begun."""
    try:
        start()
    except BaseException:
        if resumed is None:
            space.remove()
        raise
