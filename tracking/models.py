"""Logging a bundle as an MLflow model, and loading one back."""

import contextlib
import importlib.metadata
import json
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.types import ColSpec, DataType, Schema
from numpy.typing import NDArray

import folds
import tracking
from folds.documents import read_json_file, read_yaml_file
from folds.errors import UserError, reason
from tracking.flavor import Scorer, load_scorer
from tracking.places import lost

_LOADER = "tracking.flavor"
_MOST_MLMODEL = 2**24  # bytes: it names each class several times
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
            loader_module=_LOADER,
            data_path=str(bundle),
            code_paths=[str(Path(package.__file__ or "").parent) for package in (folds, tracking)],
            signature=ModelSignature(outputs=outputs),  # inputs: arrays and tables
            metadata=card,
            pip_requirements=[f"{p}=={_version(p)}" for p in _NEEDED],
        )
    return str(info.model_id)


def load_model(uri: str) -> tuple[Scorer, dict[str, Any]]:
    """Load a logged or registered model and its card.

    Parameters
    ----------
    uri : str
        ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` or ``models:/ID``.

    Returns
    -------
    model : Scorer
    card : dict
        What its ``model.json`` says: ``class_names``, ``size`` and ``levels``; ``inputs`` where its
        parts take images of several sizes.

    Raises
    ------
    UserError
        There is no such model, or it is not one of crossfold's; or it is damaged.

    Notes
    -----
    MLflow's own ``load_model`` imports the code that is stored with a model, whoever stored it.
    Here the installed code reads the bundle, and what else is in the model is left alone.
    """
    with tempfile.TemporaryDirectory() as folder:
        bundle = fetch_bundle(uri, Path(folder))
        with _named(uri):
            model = load_scorer(bundle)
            return model, read_json_file(bundle / "model.json")


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
        fetched = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
        file = fetched / MLMODEL_FILE_NAME
        content = read_yaml_file(file, _MOST_MLMODEL)
    try:
        stored = content["flavors"]["python_function"]
        module, data = stored["loader_module"], fetched / stored["data"]
    except (LookupError, TypeError):
        module = None
    if module != _LOADER:
        raise UserError(f"--model {uri}: is not a model of crossfold, and nothing in it was loaded")
    if not data.resolve().is_relative_to(fetched.resolve()):
        raise UserError(f"--model {uri}: its data lie outside of it; nothing in it was loaded")
    return data


@contextlib.contextmanager
def _named(uri: str) -> Iterator[None]:
    try:
        yield
    except (mlflow.MlflowException, OSError, ValueError, UserError) as error:
        why = lost(uri)
        known = "names look like models:/NAME@champion or models:/NAME/1"
        raise UserError(
            f"--model {uri}: cannot be loaded ({reason(error)}); {known}"
            if why is None
            else f"--model {uri}: cannot be loaded: {why}"
        ) from None


def probabilities(output: pd.DataFrame | NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities (N, C) of what a model returned; of an older bundle it is just these."""
    return output.iloc[:, 1:].to_numpy() if isinstance(output, pd.DataFrame) else output


def _version(package: str) -> str:
    return importlib.metadata.version(package).split("+")[0]
