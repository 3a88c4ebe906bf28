"""The folder of a run that is not finished, as far as the Recorder reads it; how one is found.

`distributed.workspace` has all that is in it, and writes it.
"""

import fcntl
import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from folds.arrays import Ints
from folds.errors import UserError, nearest, reason
from folds.files import DamagedError, read_sealed, read_values
from folds.training.outcome import FoldOutcome
from tracking.events import Event, read_journal

ROOT = Path(".crossfold")
Kind = Literal["run", "search"]


@dataclass(frozen=True)
class RunFolder:
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
    def memory(self) -> Path:
        """What the Recorder remembers, see `tracking.parent_run.Runs`."""
        return self.folder / "mlflow.json"

    def fold(self, task: int) -> Path:
        """The folder of a fold."""
        return self.folder / f"fold-{task}"

    def bundle(self, task: int) -> Path:
        """The folder of a finished fold's model, see `folds.model.bundle`."""
        return self.fold(task) / "bundle"

    def journal(self) -> list[Event]:
        """All that has happened."""
        return read_journal(self.events)

    def read_outcome(self, task: int) -> FoldOutcome:
        """Read a finished fold, but for its model, which is in `bundle`.

        Raises
        ------
        DamagedError
            A file of it, or of its model, is damaged.
        """
        return FoldOutcome.read(self.fold(task))

    @property
    def labels(self) -> Path:
        """The labels of all images."""
        return self.folder / "labels.npy"

    def read_labels(self) -> Ints:
        """Of all images: int64 (N,)."""
        with io.BytesIO(read_sealed(self.labels)) as file:
            return np.load(file, allow_pickle=False)


class _BusyError(UserError):
    """Another process has the folder."""


def hold(space: RunFolder, asked: str = "--resume") -> IO[str]:
    """Claim a run's folder for this process; the system frees it when the process ends.

    Parameters
    ----------
    asked : str
        How the user named the run, for the message.

    Returns
    -------
    file
        To be kept open.

    Raises
    ------
    UserError
        Another process has it: the run is not interrupted. Or it cannot be written to.
    """
    try:
        handle = (space.folder / "lock").open("w")
    except OSError as error:
        raise UserError(
            f"{asked} {space.name}: {space.folder.resolve()} cannot be written to "
            f"({reason(error)}); make it writable, or make room"
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise _BusyError(
            f"{asked} {space.name}: the run is still going; wait, or stop it"
        ) from None
    return handle


def find(
    name: str,
    kind: Kind = "run",
    *,
    asked: str = "--resume",
    remedy: str = "start one without it",
) -> RunFolder:
    """Find an unfinished run or search by name, beginning of a name, or ``latest``.

    Parameters
    ----------
    asked : str
        How the user named it, for messages.
    remedy : str
        What to do where there is none.

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
        raise UserError(f"{asked}: no interrupted {kind} in {ROOT.resolve()}; {remedy}")
    if name == "latest":
        return RunFolder(there[-1])
    fitting = [path for path in there if path.name.startswith(name)]
    if len(fitting) != 1:
        known = [path.name for path in there]
        raise UserError(
            f"{asked} {name}: {'several fit' if fitting else f'no such interrupted {kind}'}"
            f"{nearest(name, known) or '; there are: ' + ', '.join(known)}"
        )
    return RunFolder(fitting[0])


def _interrupted(folder: Path, kind: Kind) -> bool:
    if not (folder / "run.json").exists() or begun(RunFolder(folder)).get("kind", "run") != kind:
        return False
    try:
        hold(RunFolder(folder)).close()
    except _BusyError:
        return False
    except UserError:  # it is told to who takes the run up
        return True
    return True


def begun(space: RunFolder) -> dict[str, Any]:
    """What is kept of the beginning of a run or search, see `distributed.workspace.open_run`.

    Empty where it is damaged, or of another version.
    """
    try:
        return read_values(space.folder / "run.json")
    except DamagedError:
        return {}
