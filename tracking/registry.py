"""The model registry: versions and the aliases candidate, champion and previous."""

import contextlib
from dataclasses import dataclass

import mlflow
from mlflow import MlflowClient

from folds.errors import UserError, nearest

CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous"


@dataclass(frozen=True)
class Move:
    """What a promotion or a roll-back did: the versions now behind the two aliases."""

    champion: str
    previous: str | None


@dataclass(frozen=True)
class Described:
    """What is kept with a version.

    Parameters
    ----------
    tags : dict of str to str
    text : str
        Markdown.
    """

    tags: dict[str, str]
    text: str


def register(model_id: str, name: str, about: Described) -> str:
    """Make a logged model a new version of a registered one, with the alias ``candidate``.

    Returns
    -------
    str
        The version.
    """
    client = MlflowClient()
    with contextlib.suppress(mlflow.MlflowException):  # it exists, as it does after the first run
        client.create_registered_model(name)
    model = client.get_logged_model(model_id)
    version = str(
        client.create_model_version(
            name,
            f"models:/{model_id}",
            model.source_run_id,
            tags=about.tags,
            description=about.text,
            model_id=model_id,
        ).version
    )
    client.set_registered_model_alias(name, CANDIDATE, version)
    return version


def promote(name: str, version: str | None = None) -> Move:
    """Move ``champion`` to a version and keep the last one as ``previous``.

    Parameters
    ----------
    name : str
        Registered model.
    version : str, optional
        Default: the candidate.

    Raises
    ------
    UserError
        There is no such model or version, or it is the champion already.
    """
    aliases = _aliases(name)
    chosen = version or aliases.get(CANDIDATE)
    if chosen is None:
        raise UserError(f"--model-name {name}: has no candidate; name a version with --version")
    _check_version(name, chosen)
    champion = aliases.get(CHAMPION)
    if champion == chosen:
        raise UserError(f"--version {chosen}: is the champion of {name} already")
    client = MlflowClient()
    if champion is not None:
        client.set_registered_model_alias(name, PREVIOUS, champion)
    client.set_registered_model_alias(name, CHAMPION, chosen)
    return Move(chosen, champion)


def rollback(name: str) -> Move:
    """Swap ``champion`` and ``previous``.

    Raises
    ------
    UserError
        There is no such model, or nothing to go back to.
    """
    aliases = _aliases(name)
    if CHAMPION not in aliases or PREVIOUS not in aliases:
        raise UserError(f"--rollback: {name} has no previous champion to go back to")
    champion, previous = aliases[PREVIOUS], aliases[CHAMPION]
    client = MlflowClient()
    client.set_registered_model_alias(name, CHAMPION, champion)
    client.set_registered_model_alias(name, PREVIOUS, previous)
    return Move(champion, previous)


def _aliases(name: str) -> dict[str, str]:
    client = MlflowClient()
    try:
        found = client.get_registered_model(name).aliases
    except mlflow.MlflowException:
        known = [model.name for model in client.search_registered_models()]
        near = nearest(name, known) or (f"; there are: {', '.join(known[:5])}" if known else "")
        raise UserError(f"--model-name {name}: no such registered model{near}") from None
    return {alias: str(version) for alias, version in found.items()}


def _check_version(name: str, version: str) -> None:
    versions = {str(v.version) for v in MlflowClient().search_model_versions(f"name='{name}'")}
    if version not in versions:
        known = ", ".join(sorted(versions, key=int)) or "none"
        raise UserError(f"--version {version}: {name} has no such version; it has {known}")
