"""The model registry: versions and the aliases candidate, champion and previous."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from folds.errors import RunError, UserError, nearest
from tracking import limits
from tracking.promotion.lock import PREFIX, locked

CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous"


@dataclass(frozen=True)
class Move:
    """What a promotion or a roll-back did: the versions now behind the two aliases."""

    champion: str
    previous: str | None


_ABOUT = (
    "Image classifiers trained by crossfold, a version a run. "
    f"{CHAMPION} is the one to use, {CANDIDATE} the newest: "
    "python -m tracking.promote makes it the champion if it is better by more than noise."
)


@dataclass(frozen=True)
class VersionNotes:
    """What is kept with a version.

    Parameters
    ----------
    tags : dict of str to str
    text : str
        Markdown; the database takes `limits.DESCRIPTION` characters.
    """

    tags: dict[str, str]
    text: str


def register(model_id: str, name: str, about: VersionNotes) -> str:
    """Make a logged model a new version of a registered one, with the alias ``candidate``.

    Returns
    -------
    str
        The version; the one that there is, if an earlier try has made it.
    """
    client = MlflowClient()
    with contextlib.suppress(mlflow.MlflowException):  # it exists, as it does after the first run
        client.create_registered_model(name, description=_ABOUT)
    model, source = client.get_logged_model(model_id), f"models:/{model_id}"
    of_run = client.search_model_versions(f"run_id='{model.source_run_id}'")
    there = [one for one in of_run if one.name == name and one.source == source]
    made = there or [
        client.create_model_version(
            name,
            source,
            model.source_run_id,
            tags=limits.tags(about.tags, limits.VERSION_TAG),
            description=limits.fitted(about.text, limits.DESCRIPTION),
            model_id=model_id,
        )
    ]
    version = str(made[0].version)
    client.set_registered_model_alias(name, CANDIDATE, version)
    return version


def contenders(name: str, version: str | None = None) -> tuple[ModelVersion, ModelVersion | None]:
    """The version that is to be promoted, and the champion if there is one.

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
    chosen, champion = version or aliases.get(CANDIDATE), aliases.get(CHAMPION)
    if chosen is None:
        raise UserError(f"--model-name {name}: has no candidate; name a version with --version")
    client = MlflowClient()
    try:
        found = client.get_model_version(name, chosen)
    except mlflow.MlflowException:
        known = ", ".join(sorted(_versions(name), key=int)) or "none"
        raise UserError(f"--version {chosen}: {name} has no such version; it has {known}") from None
    if champion == chosen:
        raise UserError(f"--version {chosen}: is the champion of {name} already")
    return found, None if champion is None else client.get_model_version(name, champion)


def promote(
    name: str, version: str, champion: str | None, tags: Mapping[str, str | None] | None = None
) -> Move:
    """Move ``champion`` to a version and keep the last one as ``previous``.

    Parameters
    ----------
    champion : str, optional
        The champion that the version was held against.
    tags : mapping of str to str or None, optional
        Of the version; None removes one.

    Raises
    ------
    RunError
        Another version was promoted meanwhile.
    """
    client = MlflowClient()
    with locked(name) as lock:
        _check_champion(name, champion, "to hold it against the new champion")
        own = client.get_model_version(name, version).tags
        for key, value in (tags or {}).items():
            if value is not None:
                client.set_model_version_tag(name, version, key, value)
            elif key in own:
                client.delete_model_version_tag(name, version, key)
        lock.check()
        if champion is not None:
            client.set_registered_model_alias(name, PREVIOUS, champion)
        client.set_registered_model_alias(name, CHAMPION, version)
    return Move(version, champion)


def rollback(name: str) -> Move:
    """Swap ``champion`` and ``previous``.

    Raises
    ------
    UserError
        There is no such model, or nothing to go back to.
    RunError
        The champion changed meanwhile.
    """
    aliases = _aliases(name)
    if CHAMPION not in aliases or PREVIOUS not in aliases:
        raise UserError(f"--rollback: {name} has no previous champion to go back to")
    champion, previous = aliases[PREVIOUS], aliases[CHAMPION]
    client = MlflowClient()
    with locked(name) as lock:
        _check_champion(name, previous, "if it is to be rolled back")
        lock.check()
        client.set_registered_model_alias(name, CHAMPION, champion)
        client.set_registered_model_alias(name, PREVIOUS, previous)
    return Move(champion, previous)


def _check_champion(name: str, expected: str | None, why: str) -> None:
    now = _aliases(name).get(CHAMPION)
    if now != expected:
        what = "the champion was removed" if now is None else f"version {now} was promoted"
        raise RunError(f"{what} meanwhile; run the command again {why}")


def _versions(name: str) -> list[str]:
    """Numbers of all versions; MLflow's filters know no escape for a quote."""
    quote = '"' if "'" in name else "'"
    found = MlflowClient().search_model_versions(f"name={quote}{name}{quote}")
    return [str(version.version) for version in found]


def _aliases(name: str) -> dict[str, str]:
    client = MlflowClient()
    try:
        aliases = client.get_registered_model(name).aliases
    except mlflow.MlflowException:
        models = (model.name for model in client.search_registered_models())
        known = [model for model in models if not model.startswith(PREFIX)]
        near = nearest(name, known) or (f"; there are: {', '.join(known[:5])}" if known else "")
        raise UserError(f"--model-name {name}: no such registered model{near}") from None
    return {alias: str(version) for alias, version in aliases.items()}
