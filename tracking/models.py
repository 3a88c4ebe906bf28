"""Logging a bundle as an MLflow model, and loading one back."""

import contextlib
import importlib.metadata
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.pyfunc import PyFuncModel
from mlflow.types import ColSpec, DataType, Schema
from numpy.typing import NDArray

import folds
import tracking
from folds.errors import UserError, reason
from tracking.places import lost

_NEEDED = (
    "kornia", "numpy", "pandas", "pillow", "pydantic", "pyyaml", "safetensors", "scikit-learn",
    "scipy", "timm", "torch", "torchvision",
)  # fmt: skip


def log_model(bundle: Path, *, name: str) -> str:
    """Log a bundle into the active run.

    Parameters
    ----------
    bundle : Path
        See `folds.model.bundle`.
    name : str
        Name of the model within the run.

    Returns
    -------
    str
        Its id; ``models:/ID`` loads it.
    """
    card = json.loads((bundle / "model.json").read_text(encoding="utf-8"))
    probabilities = [ColSpec(DataType.float, name) for name in card["class_names"]]
    outputs = Schema([ColSpec(DataType.string, "predicted_class"), *probabilities])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*input example", UserWarning)
        info = mlflow.pyfunc.log_model(
            name=name,
            loader_module="tracking.flavor",
            data_path=str(bundle),
            code_paths=[str(Path(package.__file__ or "").parent) for package in (folds, tracking)],
            signature=ModelSignature(outputs=outputs),  # inputs: arrays and tables
            metadata=card,
            pip_requirements=[f"{p}=={_version(p)}" for p in _NEEDED],
        )
    return str(info.model_id)


def load_model(uri: str) -> tuple[PyFuncModel, dict[str, Any]]:
    """Load a logged or registered model and its card.

    Parameters
    ----------
    uri : str
        ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` or ``models:/ID``.

    Raises
    ------
    UserError
        There is no such model, or it is not one of crossfold's.
    """
    with _named(uri):
        model = mlflow.pyfunc.load_model(uri)
    return model, _card(uri, model.metadata)


def fetch_bundle(uri: str, folder: Path) -> Path:
    """Bring the bundle of a logged or registered model into a folder.

    Parameters
    ----------
    uri : str
        As `load_model` takes it.

    Returns
    -------
    Path
        Where the bundle is in the folder.

    Raises
    ------
    UserError
        As `load_model`.
    """
    with _named(uri):
        fetched = mlflow.artifacts.download_artifacts(uri, dst_path=str(folder))
        model = Model.load(fetched)
    _card(uri, model)
    return Path(fetched) / model.flavors["python_function"]["data"]


@contextlib.contextmanager
def _named(uri: str) -> Iterator[None]:
    try:
        yield
    except (mlflow.MlflowException, OSError, ValueError) as error:
        why = lost(uri)
        known = "names look like models:/NAME@champion or models:/NAME/1"
        raise UserError(
            f"--model {uri}: cannot be loaded ({reason(error)}); {known}"
            if why is None
            else f"--model {uri}: cannot be loaded: {why}"
        ) from None


def _card(uri: str, model: Model) -> dict[str, Any]:
    card = model.metadata or {}
    if "class_names" not in card:
        raise UserError(f"--model {uri}: is not a model of crossfold; it has no class names")
    return card


def probabilities(output: pd.DataFrame | NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities (N, C) of what a model returned; of an older bundle it is just these."""
    return output.iloc[:, 1:].to_numpy() if isinstance(output, pd.DataFrame) else output


def _version(package: str) -> str:
    return importlib.metadata.version(package).split("+")[0]
