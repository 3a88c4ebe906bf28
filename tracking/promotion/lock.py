"""A lock in the model registry, for what MLflow cannot do in one step.

A promotion reads the aliases and then writes several, and MLflow has no transaction for that. It
does refuse a registered model whose name is taken, however many ask at once: that is the lock.
"""

import contextlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import RegisteredModel

from folds.errors import RunError

PREFIX = "crossfold-lock-"
_OWNER = "crossfold.owner"
_WAIT = 0.1  # seconds between two tries
_PATIENCE = 2.0  # seconds until a lock is suspected to be left over
_FORGOTTEN = 60.0  # seconds after which it is
_GONE = "RESOURCE_DOES_NOT_EXIST"


@dataclass(frozen=True)
class Lock:
    """A registered model without versions; its name is unique in the registry's database.

    Parameters
    ----------
    name : str
    owner : str
        Who made it: a new word each time.
    made : int
        Milliseconds, by the registry's clock.
    """

    name: str
    owner: str
    made: int

    @property
    def held(self) -> bool:
        """Whether it is still there."""
        holder = _holder(self.name)
        return holder is not None and holder.owner == self.owner

    def check(self) -> None:
        """Raise RunError unless it is still there."""
        if not self.held:
            raise RunError("this took more than a minute, others may have gone on; run it again")


@contextlib.contextmanager
def locked(name: str) -> Iterator[Lock]:
    """Hold a lock; others wait until it is given back.

    Parameters
    ----------
    name : str
        What it is for; the registered model is called ``crossfold-lock-NAME``.

    Notes
    -----
    A lock older than a minute was left over by a process that ended: it is broken, by one process
    alone, which holds a lock of the broken one's owner. Both ages are by the registry's clock.
    """
    lock = _acquire(PREFIX + name, uuid.uuid4().hex[:8])
    try:
        yield lock
    finally:
        _release(lock)


def _acquire(name: str, owner: str) -> Lock:
    seen, since = None, time.monotonic()
    while True:
        _create(name, owner)
        holder = _holder(name)
        if holder is None:  # given back between the two
            continue
        if holder.owner == owner:
            return holder
        if holder != seen:
            seen, since = holder, time.monotonic()
        elif time.monotonic() - since > _PATIENCE:
            _break(holder)
            since = time.monotonic()
        else:
            time.sleep(_WAIT)


def _create(name: str, owner: str) -> None:
    """Make the registered model if there is none; who made it can be seen afterwards."""
    try:
        MlflowClient().create_registered_model(
            name, {_OWNER: owner}, "Held for a moment while the champion changes."
        )
    except mlflow.MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", _GONE):
            raise


def _holder(name: str) -> Lock | None:
    try:
        model: RegisteredModel = MlflowClient().get_registered_model(name)
    except mlflow.MlflowException as error:
        if error.error_code == _GONE:
            return None
        raise
    return Lock(name, model.tags.get(_OWNER, ""), model.creation_timestamp)


def _break(left: Lock) -> None:
    """Remove a lock if it was left over."""
    with locked(f"{left.name.removeprefix(PREFIX)}-{left.owner}") as mine:
        if mine.made - left.made > 1000 * _FORGOTTEN:
            _release(left)


def _release(lock: Lock) -> None:
    if lock.held:
        with contextlib.suppress(mlflow.MlflowException):
            MlflowClient().delete_registered_model(lock.name)
