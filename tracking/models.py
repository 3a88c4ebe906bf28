"""Logging a bundle as an MLflow model, and loading one back."""

import contextlib
import importlib.metadata
import json
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Run
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.tracking.context.registry import resolve_tags
from mlflow.types import ColSpec, DataType, Schema

import folds
import tracking
from folds.documents import read_json_file, read_yaml_file
from folds.errors import UserError, reason
from folds.model.decision import FILE
from folds.model.mixture import knows_typicality
from tracking.flavor import PREDICTED, SET, TYPICALITY, Scorer, load_scorer
from tracking.places import lost

_LOADER = "tracking.flavor"
_MOST_MLMODEL = 2**24  # bytes: it names each class several times
_NEEDED = (
    "kornia", "numpy", "pandas", "pillow", "pydantic", "pyyaml", "safetensors", "scikit-learn",
    "scipy", "timm", "torch", "torchvision",
)  # fmt: skip


def log_model(bundle: Path, *, name: str, run: str | None = None) -> str:
    """Log a bundle in a run; once, however often it is called.

    Parameters
    ----------
    bundle : Path
        See `folds.model.bundle`.
    name : str
        Name of the model within the run.
    run : str, optional
        Id of the run; default: the active one.

    Returns
    -------
    str
        Its id; ``models:/ID`` loads it.

    Notes
    -----
    ``mlflow.pyfunc.log_model`` makes a new model at every call. After a call that was cut off, the
    run would have two, one of them without files; here the one that is there is completed.
    """
    client = MlflowClient()
    active = mlflow.active_run()
    where = client.get_run(run or (active.info.run_id if active else ""))
    model = _begun_model(client, where, name)
    if model.status != LoggedModelStatus.READY:
        with tempfile.TemporaryDirectory() as scratch:
            _save(bundle, Path(scratch) / "model", model)
            client.log_model_artifacts(model.model_id, str(Path(scratch) / "model"))
        linked = [] if where.outputs is None else where.outputs.model_outputs
        if model.model_id not in [output.model_id for output in linked]:
            output = LoggedModelOutput(model.model_id, step=0)
            client.log_outputs(where.info.run_id, [output])
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return str(model.model_id)


def _begun_model(client: MlflowClient, run: Run, name: str) -> LoggedModel:
    """The model of this name in a run, which is made if it is not there."""
    experiment, source = run.info.experiment_id, run.info.run_id
    of_run = client.search_logged_models([experiment], f"source_run_id = '{source}'")
    own = [model for model in of_run if model.name == name]
    if own:
        return own[0]
    return client.create_logged_model(
        experiment, name, source, tags=resolve_tags({}), params=run.data.params
    )


def _save(bundle: Path, folder: Path, model: LoggedModel) -> None:
    """Write a bundle as MLflow wants a model's files."""
    card = json.loads((bundle / "model.json").read_text(encoding="utf-8"))
    probabilities = [ColSpec(DataType.float, name) for name in card["class_names"]]
    sets = [ColSpec(DataType.string, SET)] if (bundle / FILE).exists() else []
    typical = [ColSpec(DataType.float, TYPICALITY)] if knows_typicality(bundle) else []
    outputs = Schema([ColSpec(DataType.string, PREDICTED), *probabilities, *sets, *typical])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*input example", UserWarning)
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module=_LOADER,
            data_path=str(bundle),
            code_paths=[str(Path(package.__file__ or "").parent) for package in (folds, tracking)],
            signature=ModelSignature(outputs=outputs),  # inputs: arrays and tables
            mlflow_model=Model(
                artifact_path=model.artifact_location,
                run_id=model.source_run_id,
                model_uuid=model.model_id,
                model_id=model.model_id,
                metadata=card,
            ),
            pip_requirements=[f"{p}=={_version(p)}" for p in _NEEDED],
        )
    for compiled in folder.rglob("__pycache__"):
        shutil.rmtree(compiled, ignore_errors=True)


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
    Here the installed code reads the bundle, and what else is in the model is left alone. Its files
    stay as long as the model does, which reads them again where it adapts its batch norm.
    """
    with contextlib.ExitStack() as kept:
        bundle = fetch_bundle(uri, Path(kept.enter_context(tempfile.TemporaryDirectory())))
        with _named(uri):
            model, card = load_scorer(bundle), read_json_file(bundle / "model.json")
        weakref.finalize(model, kept.pop_all().close)
        return model, card


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
        inside = data.resolve().is_relative_to(fetched.resolve())
    except (LookupError, TypeError, ValueError):  # or a name that no file can have
        module = None
    if module != _LOADER:
        raise UserError(f"--model {uri}: is not a model of crossfold, and nothing in it was loaded")
    if not inside:
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


def _version(package: str) -> str:
    return importlib.metadata.version(package).split("+")[0]
