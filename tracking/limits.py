"""What MLflow's database holds: values that are too long are shortened here, and nowhere else.

The lengths are those of the columns of ``mlflow.store.tracking.dbmodels`` and
``mlflow.store.model_registry.dbmodels`` (MLflow 3.17) and of ``mlflow.utils.validation``, whichever
is less. PostgreSQL, MySQL and SQL Server refuse what is longer; SQLite takes it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from folds.errors import masked

T = TypeVar("T")

KEY = 250  # of parameters, metrics and tags
PARAM = 6000
TAG = 8000  # of a run
MODEL_TAG = 5000  # of a registered model
VERSION_TAG = 100_000
DESCRIPTION = 5000  # of a version or a registered model
RUN_NAME = 250
DATASET_NAME = 500
DATASET_DIGEST = 36
DATASET_SOURCE = 65_535
PARAMS_AT_ONCE = 100
METRICS_AT_ONCE = 1000


def fitted(value: Any, most: int) -> str:
    """A value as text that any database takes, without passwords.

    Returns
    -------
    str
        At most `most` characters, the last three of them dots if it was longer. What is no
        Unicode (names of files in other encodings) or NUL, which PostgreSQL refuses, is replaced.
    """
    text = masked(str(value)).replace("\0", "\N{REPLACEMENT CHARACTER}")
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= most else text[: most - 3] + "..."


def tags(values: Mapping[str, Any], most: int = TAG) -> dict[str, str]:
    """Tags whose keys and values fit."""
    return {fitted(key, KEY): fitted(value, most) for key, value in values.items()}


def pieces(values: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """The values in order, so many at a time as one call takes."""
    yield from (values[start : start + most] for start in range(0, len(values), most))
