"""Finding a run in MLflow by what a user calls it."""

import re

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from folds.errors import UserError, nearest

_SHORTEST = 6  # letters of the beginning of an id
_REMEDY = "give a parent run's id, its beginning, its name, or models:/NAME@ALIAS"


def find_run(word: str) -> Run:
    """Find a parent run.

    Parameters
    ----------
    word : str
        Its id or the beginning of it, its name, or ``models:/NAME/VERSION`` or
        ``models:/NAME@ALIAS``. Of a fold's run its parent is meant.

    Raises
    ------
    UserError
        There is none, or more than one.
    """
    if word.startswith("models:/"):
        return _of_version(word)
    parents = _parents()
    matches = [run for run in parents if word in (run.info.run_id, run.info.run_name)]
    if not matches and len(word) >= _SHORTEST:
        matches = [run for run in parents if run.info.run_id.startswith(word)]
    if len(matches) > 1:
        ids = ", ".join(run.info.run_id[:8] for run in matches)
        raise UserError(
            f"RUN {word}: {len(matches)} runs are meant; give the beginning of one id: {ids}"
        )
    if matches:
        return matches[0]
    if re.fullmatch(r"[0-9a-f]{32}", word):
        return _parent(word, word)
    known = [str(run.info.run_name) for run in parents]
    raise UserError(f"RUN {word}: no such run{nearest(word, known)}; {_REMEDY}")


def _of_version(word: str) -> Run:
    """The parent run that made a registered version."""
    match = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))", word)
    if match is None:
        raise UserError(f"RUN {word}: is not models:/NAME/VERSION or models:/NAME@ALIAS")
    name, alias, number = match.groups()
    client = MlflowClient()
    try:
        version: ModelVersion = (
            client.get_model_version_by_alias(name, alias)
            if alias
            else client.get_model_version(name, number)
        )
    except MlflowException:
        known = [model.name for model in client.search_registered_models()]
        raise UserError(f"RUN {word}: no such registered version{nearest(name, known)}") from None
    return _parent(word, version.tags.get("crossfold.run") or version.run_id)


def _parent(word: str, run_id: str | None) -> Run:
    """The run itself, or the one that a fold's run belongs to."""
    client = MlflowClient()
    try:
        run = client.get_run(run_id)
        return client.get_run(run.data.tags.get("mlflow.parentRunId", run_id))
    except MlflowException:
        raise UserError(f"RUN {word}: no such run; {_REMEDY}") from None


def _parents() -> list[Run]:
    """All parent runs, newest first."""
    client = MlflowClient()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs: list[Run] = []
    token: str | None = ""
    while token is not None:
        page = client.search_runs(
            experiments, "tags.`crossfold.kind` = 'parent'", page_token=token or None
        )
        runs += page
        token = page.token or None
    return runs
