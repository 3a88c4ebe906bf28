"""Where MLflow keeps files, and whether they can be written and are still there."""

import contextlib
import os
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient
from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository

from folds.errors import UserError
from folds.files import check_folder
from tracking.store import Store


class LostError(UserError):
    """Files are no longer where MLflow says."""


def check_experiment(store: Store, name: str) -> None:
    """Refuse a place for an experiment's runs and files that cannot be written, before training.

    Parameters
    ----------
    store : Store
    name : str
        Of the experiment, which need not be there yet.

    Raises
    ------
    UserError
        The database cannot be written; or the files' folder, on this machine, cannot be written
        to, or was beside a database that has been moved.
    """
    database = store.sqlite
    if database is not None and not os.access(database, os.W_OK):
        raise UserError(
            f"{database}: cannot be written to; run in a folder that can be written to, or give "
            "another --tracking-uri"
        )
    experiment = MlflowClient(store.uri, store.uri).get_experiment_by_name(name)
    location = store.artifact_root if experiment is None else experiment.artifact_location
    folder = local(location or "")
    if folder is None:
        return
    if database is not None and folder.parent != database.parent and "mlruns" in folder.parts[-2:]:
        moved = folder if folder.name == "mlruns" else folder.parent
        if not moved.exists():
            raise UserError(
                f"--experiment {name}: keeps its files in {moved}, which is not there; "
                f"{_link(moved.parent, database.parent)}, or give a new --experiment"
            )
    check_folder(f"--experiment {name}: keeps its files in {folder}", folder)


def lost(model: str) -> str | None:
    """What to do about a model whose files are no longer where the registry says.

    Parameters
    ----------
    model : str
        ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` or ``models:/ID``.

    Returns
    -------
    str, optional
        None where they are there, are not on this machine, or there is no such model.
    """
    folder = None
    with contextlib.suppress(Exception):  # no such model, which is told already
        folder = local(ModelsArtifactRepository.get_underlying_uri(model))
    return _gone(folder)


def check_there(who: str, uri: str) -> None:
    """Refuse files that are no longer on this machine, though they should be.

    Parameters
    ----------
    who : str
        What the files belong to, as the message names it.
    uri : str
        Of their folder.

    Raises
    ------
    LostError
    """
    why = _gone(local(uri))
    if why is not None:
        raise LostError(f"{who}: {why}")


def _gone(folder: Path | None) -> str | None:
    """That a folder is not there, and what to do if it was moved."""
    if folder is None or folder.exists():
        return None
    roots = [above for above in (folder, *folder.parents) if above.name == "mlruns"]
    missing = [place for root in roots[-1:] for place in (root.parent, root) if not place.exists()]
    remedy = f"; {_link(missing[0])}" if missing else ""
    return f"its files are not in {folder} any more{remedy}"


def local(uri: str) -> Path | None:
    """The folder of this machine that a URI means, or None."""
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(uri) if uri.startswith("/") else None


def _link(old: Path, new: Path | None = None) -> str:
    """The remedy for a folder that has been moved; `new` where that is known."""
    there = "WHERE-IT-IS-NOW" if new is None else shlex.quote(str(new))
    return f"if that folder was moved, `ln -s {there} {shlex.quote(str(old))}` finds them again"
