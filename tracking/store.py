"""Finding and checking the MLflow store."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from folds.errors import UserError

DEFAULT_URI = "sqlite:///mlflow.db"


@dataclass(frozen=True)
class Store:
    """An MLflow store that has answered.

    Parameters
    ----------
    uri : str
        Tracking and registry URI.
    """

    uri: str

    @property
    def look(self) -> str:
        """The command or address that shows the runs."""
        if self.uri.startswith("http"):
            return self.uri
        return f"mlflow ui --backend-store-uri {self.uri}"

    @property
    def artifact_root(self) -> str | None:
        """Where a new experiment's files go: beside an sqlite file, else where the server says."""
        path = _sqlite_path(self.uri)
        return None if path is None else (path.resolve().parent / "mlruns").as_uri()


def connect(uri: str | None) -> Store:
    """Choose the store, make MLflow use it, and check that it answers.

    Parameters
    ----------
    uri : str, optional
        Default: MLFLOW_TRACKING_URI, or ``sqlite:///mlflow.db`` in the current folder.

    Raises
    ------
    UserError
        It does not answer, or is of a kind that MLflow no longer has.
    """
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    _quiet()
    path = _sqlite_path(chosen)
    if path is not None and not path.resolve().parent.is_dir():
        raise UserError(
            f"--tracking-uri {chosen}: no folder {path.resolve().parent}; make it first"
        )
    import mlflow

    mlflow.set_tracking_uri(chosen)
    mlflow.set_registry_uri(chosen)
    try:
        mlflow.MlflowClient().search_experiments(max_results=1)
    except Exception as error:  # MlflowException, or whatever the store's own driver raises
        reason = " ".join(str(error).split())[:150]
        raise UserError(
            f"--tracking-uri {chosen}: the tracking server does not answer ({reason}); "
            "start it with `mlflow server`, or leave the flag out to use sqlite:///mlflow.db"
        ) from None
    return Store(chosen)


def _quiet() -> None:
    """Keep MLflow's own chatter and minutes of retries out."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    if not os.environ.get("CROSSFOLD_VERBOSE"):
        for name in ("mlflow", "alembic", "urllib3"):
            logging.getLogger(name).setLevel(logging.ERROR)


def _sqlite_path(uri: str) -> Path | None:
    prefix = "sqlite:///"
    return Path(uri.removeprefix(prefix)) if uri.startswith(prefix) else None
