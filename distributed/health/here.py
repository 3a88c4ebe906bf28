"""What the machine that runs the command needs: a folder, MLflow, and little to upload."""

import os
import shutil
from pathlib import Path

from distributed.health.checks import Finding, gigabytes, judge, upload
from distributed.health.node import code
from folds.errors import UserError
from folds.files import check_folder
from tracking.run_folder import ROOT
from tracking.store import DEFAULT_URI, connect

ROOM, LEAST_ROOM = 10 * 10**9, 10**9


def storage(folder: Path) -> list[Finding]:
    """Whether a run's folder can be made in a folder, and has room."""
    try:
        check_folder(str(folder), folder / ROOT)
    except UserError:
        remedy = "run in a folder that can be written to"
        return [Finding("storage", "broken", f"{folder} cannot be written to", remedy)]
    return room(shutil.disk_usage(folder).free, folder)


def room(free: int, folder: Path) -> list[Finding]:
    """Whether so many free bytes are enough for checkpoints, results and models."""
    seen = f"{folder} has {gigabytes(free)} free"
    if free < ROOM:
        remedy = "make room, or run in a folder on a larger disk"
        return [Finding("storage", "broken" if free < LEAST_ROOM else "notice", seen, remedy)]
    return judge("storage", [], seen)


def mlflow(uri: str | None, default: Path) -> list[Finding]:
    """Whether the store answers; one that a run would make here is not made yet.

    Parameters
    ----------
    uri : str, optional
        As given; default as in `tracking.store.connect`.
    default : Path
        Folder of the default store.
    """
    given = uri is not None or "MLFLOW_TRACKING_URI" in os.environ
    if not given and not (default / DEFAULT_URI.removeprefix("sqlite:///")).exists():
        return judge("mlflow", [], f"{DEFAULT_URI} will be made in {default}")
    try:
        store = connect(uri)
    except UserError as error:
        seen, _, remedy = str(error).rpartition("; ")
        return [Finding("mlflow", "broken", seen, remedy)]
    return judge("mlflow", [], f"{store.shown} answers")


def packages() -> list[Finding]:
    """Whether Ray takes crossfold's code to other machines."""
    sizes = {}
    for folder in code():
        files = [path for path in folder.rglob("*") if path.is_file()]
        sizes[str(folder)] = sum(path.stat().st_size for path in files)
    return upload(sizes)
