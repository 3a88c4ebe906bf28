"""The folder of a run while it is not finished: what ``--resume`` goes on from.

::

    .crossfold/NAME/run.json        format, settings, and digests of what the run depends on
                    runtime.json    precision, layout and compilation of all folds
                    lanes.json      who trains what just now
                    mlflow.json     ids of the MLflow runs, and how far the Recorder is
                    events.jsonl    everything that happened, in order
                    fold-0/         checkpoint.pt while it is trained, then the result:
                                    bundle/, result.npz, and result.json, written last
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from folds.config import Config
from folds.errors import UserError, nearest
from folds.files import write_whole
from folds.training.outcome import VALUES, FoldOutcome

ROOT = Path(".crossfold")
Kind = Literal["run", "search"]
FORMAT = 2  # of the folder; an older one has other names in the files of finished folds


@dataclass(frozen=True)
class Workspace:
    """Paths of one run."""

    folder: Path

    @property
    def name(self) -> str:
        """The run's name."""
        return self.folder.name

    @property
    def events(self) -> Path:
        """The journal."""
        return self.folder / "events.jsonl"

    @property
    def runtime(self) -> Path:
        """How all folds are computed, once that is settled."""
        return self.folder / "runtime.json"

    @property
    def standing(self) -> Path:
        """Who trains what, see `distributed.lanes.standing`."""
        return self.folder / "lanes.json"

    def fold(self, task: int) -> Path:
        """The folder of a fold."""
        return self.folder / f"fold-{task}"

    def checkpoint(self, task: int) -> Path:
        """A fold's checkpoint."""
        return self.fold(task) / "checkpoint.pt"

    def bundle(self, task: int) -> Path:
        """The folder of a finished fold's model, see `folds.model.bundle`."""
        return self.fold(task) / "bundle"

    def finished(self, task: int) -> bool:
        """Whether a fold's outcome is complete; its last file is written last."""
        return (self.fold(task) / VALUES).exists()

    def write_checkpoint(self, task: int, content: bytes) -> None:
        """Replace a fold's checkpoint."""
        write_whole(self.checkpoint(task), content)

    def write_outcome(self, task: int, outcome: FoldOutcome, bundle: dict[str, bytes]) -> None:
        """Keep a finished fold: the files of its model, then all else, which makes it complete."""
        for name, content in bundle.items():
            write_whole(self.bundle(task) / name, content)
        outcome.write(self.fold(task))
        self.checkpoint(task).unlink(missing_ok=True)

    def read_outcome(self, task: int) -> FoldOutcome:
        """Read a finished fold, but for its model, which is in `bundle`."""
        return FoldOutcome.read(self.fold(task))

    def remove(self) -> None:
        """Delete the folder, and the root when it is the last."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # another run is in it, or was quicker
            ROOT.rmdir()


def hold(space: Workspace) -> IO[str]:
    """Claim a run's folder for this process; the system frees it when the process ends.

    Returns
    -------
    file
        To be kept open.

    Raises
    ------
    UserError
        Another process has it: the run is not interrupted.
    """
    handle = (space.folder / "lock").open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise UserError(
            f"--resume {space.name}: the run is still going; wait, or stop it"
        ) from None
    return handle


def _interrupted(folder: Path, kind: Kind) -> bool:
    if not (folder / "run.json").exists() or _begun(Workspace(folder)).get("kind", "run") != kind:
        return False
    try:
        hold(Workspace(folder)).close()
    except UserError:
        return False
    return True


def find(name: str, kind: Kind = "run") -> Workspace:
    """Find an unfinished run or search by name, beginning of a name, or ``latest``.

    Raises
    ------
    UserError
        There is none, or several fit.
    """
    there = sorted(
        (path for path in ROOT.glob("*") if _interrupted(path, kind)),
        key=lambda path: (path / "run.json").stat().st_mtime,
    )
    if not there:
        raise UserError(
            f"--resume: no interrupted {kind} in {ROOT.resolve()}; start one without it"
        )
    if name == "latest":
        return Workspace(there[-1])
    fitting = [path for path in there if path.name.startswith(name)]
    if len(fitting) != 1:
        known = [path.name for path in there]
        raise UserError(
            f"--resume {name}: {'several fit' if fitting else f'no such interrupted {kind}'}"
            f"{nearest(name, known) or '; there are: ' + ', '.join(known)}"
        )
    return Workspace(fitting[0])


def read_settings(space: Workspace) -> dict[str, Any]:
    """Settings by flag name that an interrupted run began with.

    Raises
    ------
    UserError
        Another version of crossfold began it.
    """
    stored = _begun(space)
    if stored.get("format") != FORMAT:
        raise UserError(
            f"--resume {space.name}: another version of crossfold began it; let that version end "
            "it, or start a new run"
        )
    return stored["config"]


def read_options(space: Workspace) -> dict[str, Any]:
    """What an interrupted search was asked for, see `open_run`."""
    options: dict[str, Any] = _begun(space)["search"]
    return options


def _begun(space: Workspace) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((space.folder / "run.json").read_text(encoding="utf-8"))
    return content


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
    search : dict, optional
        Of a search: what it was asked for beside the settings.

    Raises
    ------
    UserError
        The images, splits or weights are no longer those the run began with.
    """
    if resumed is not None:
        space = Workspace(ROOT / resumed)
        stored = _begun(space)["digests"]
        changed = [name for name, value in digests.items() if stored[name] != value]
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
        write_whole(space.folder / "run.json", json.dumps(content, indent=2).encode())
    except OSError as error:
        space.remove()
        raise UserError(
            f"{ROOT.resolve()}: {error.strerror}; run in a folder that can be written to"
        ) from None
    return space


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
