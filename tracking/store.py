"""Finding and checking the MLflow store."""

import contextlib
import fcntl
import logging
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from folds.errors import LOGIN, UserError, disk_full, masked, reason
from folds.files import check_folder

DEFAULT_URI = "sqlite:///mlflow.db"
_VARIABLE = "MLFLOW_TRACKING_URI"


@dataclass(frozen=True)
class Store:
    """An MLflow store that has answered.

    Parameters
    ----------
    uri : str
        Tracking and registry URI; that of a database may hold a password.
    login : bool
        Whether a flag gave it with user or password, which nobody keeps.
    """

    uri: str
    login: bool = False

    @property
    def shown(self) -> str:
        """The URI as it may be recorded and shown: without user and password."""
        return masked(self.uri)

    @property
    def again(self) -> str:
        """What to add to a command that goes on, or nothing."""
        uri = self.shown.replace("://", f"://{LOGIN}", 1)
        return f" --tracking-uri {shlex.quote(uri)}" if self.login else ""

    @property
    def look(self) -> str:
        """The command or address that shows the runs."""
        if self.uri.startswith("http"):
            return self.shown
        return f"mlflow ui --backend-store-uri {shlex.quote(masked(self.uri, LOGIN))}"

    @property
    def sqlite(self) -> Path | None:
        """The file of an sqlite database, whole path."""
        path = _sqlite_path(self.uri)
        return None if path is None else path.resolve()

    @property
    def artifact_root(self) -> str | None:
        """Where a new experiment's files go: beside an sqlite file, else where the server says."""
        return None if self.sqlite is None else (self.sqlite.parent / "mlruns").as_uri()


def connect(uri: str | None) -> Store:
    """Choose the store, make MLflow use it, and check that it answers.

    Parameters
    ----------
    uri : str, optional
        Default: MLFLOW_TRACKING_URI, or ``sqlite:///mlflow.db`` in the current folder. The
        variable is taken, too, if it is the same but for user and password.

    Raises
    ------
    UserError
        It does not answer, or is of a kind that MLflow no longer has.

    Notes
    -----
    User and password of a server go to MLflow by its own variables, so its URI has none any more,
    wherever MLflow or we may write it. Processes that find no database make it one by one.
    """
    given = os.environ.get(_VARIABLE)
    flagged = uri is not None and uri != masked(given or "")
    chosen = uri if uri is not None and flagged else given or DEFAULT_URI
    if "@" in chosen and "://" not in chosen:  # a password may be in it, so it is not repeated
        flag = _VARIABLE if uri is None else "--tracking-uri"
        raise UserError(f"{flag}: has an @ but no ://; give an address such as http://{LOGIN}HOST")
    place = masked(f"--tracking-uri {uri}" if uri else f"{_VARIABLE} {given}" if given else "")
    _quiet()
    login = masked(chosen) != chosen
    if chosen.startswith("http") and login:
        chosen = _log_in(chosen, place)
    _check_sqlite(chosen, place)
    import mlflow

    mlflow.set_tracking_uri(chosen)
    mlflow.set_registry_uri(chosen)
    try:
        with _alone(chosen):
            mlflow.MlflowClient().search_experiments(max_results=1)
    except Exception as error:  # MlflowException, or whatever the store's own driver raises
        raise UserError(_no_answer(place or masked(chosen), chosen, error)) from None
    return Store(chosen, login and bool(flagged))


def _no_answer(place: str, uri: str, error: Exception) -> str:
    if _sqlite_path(uri) is not None:
        room = "make room, or " if disk_full(error) else ""
        return f"{place}: cannot be opened ({reason(error)}); {room}give another --tracking-uri"
    if any(word in str(error) for word in ("error code 401", "error code 403", "password")):
        example = masked(uri).replace("://", f"://{LOGIN}", 1)
        return (
            f"{place}: other user and password are wanted ({reason(error)}); give them with "
            f"--tracking-uri {example}, or in {_VARIABLE}"
        )
    return (
        f"{place}: the tracking server does not answer ({reason(error)}); start it with "
        f"`mlflow server`, or leave the flag and {_VARIABLE} out to use {DEFAULT_URI}"
    )


def _log_in(uri: str, place: str) -> str:
    """Give user and password of a server's URI to MLflow; the URI without them.

    Raises
    ------
    UserError
        They hold a letter that ends the host of a URI.
    """
    parts, public = urlsplit(uri), masked(uri)
    if parts.hostname != urlsplit(public).hostname:
        raise UserError(
            f"{place}: user and password are cut by a letter such as / # or ?; write it as %2F, "
            "%23 or %3F"
        )
    os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username or "")
    os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password or "")
    return public


def _check_sqlite(uri: str, place: str) -> None:
    """Refuse an sqlite file that cannot be made.

    Raises
    ------
    UserError
        Its folder is not there, or cannot be written to.
    """
    path = _sqlite_path(uri)
    if path is None or path.exists():
        return
    folder = path.resolve().parent
    if not folder.is_dir():
        raise UserError(f"{place}: no folder {folder}; make it first")
    try:
        check_folder(uri, folder)
    except UserError:
        where = f"{place}: {folder} is no folder that can be written to; give another one"
        here = f"{folder}: cannot be written to; run in a folder that can be written to"
        raise UserError(where if place else here) from None


@contextlib.contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Let one process at a time make the tables of an sqlite file, or bring them up to date."""
    path = _sqlite_path(uri)
    if path is None:
        yield
        return
    folder = os.open(path.resolve().parent, os.O_RDONLY)  # a folder, so that no file is left
    try:
        with contextlib.suppress(OSError):  # file systems without locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _quiet() -> None:
    """Keep MLflow's own chatter and minutes of retries out.

    A request that was cut off may have been heard: whoever asks again looks first, which MLflow's
    own retries do not. A server whose sqlite file is locked waits 20 s before it says so.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    if not os.environ.get("CROSSFOLD_VERBOSE"):
        for name in ("mlflow", "alembic", "urllib3"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # errors are raised as well


def _sqlite_path(uri: str) -> Path | None:
    prefix = "sqlite:///"
    return Path(uri.removeprefix(prefix)) if uri.startswith(prefix) else None
