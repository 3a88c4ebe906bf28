"""What a finished run predicted, as MLflow keeps it."""

import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from folds.arrays import Ints
from folds.config import Config
from folds.errors import UserError, nearest
from folds.evaluation.predictions import Predictions, ShiftPredictions, clusters
from tracking.summary import Summary
from tracking.summary_file import read_summary

_SETTINGS = {name for group in Config().science.values() for name in group} - {"splits"}
_SHORTEST = 6  # letters of the beginning of an id
_EXTERNAL = re.compile(r"external-(.+)\.npz")
_REMEDY = "give a parent run's id, its beginning, its name, or models:/NAME@ALIAS"
Arrays = dict[str, NDArray]


@dataclass(frozen=True)
class Evidence:
    """A run and its predictions.

    Parameters
    ----------
    run : str
        Id of the parent run.
    name : str
    about : str
        Data and backbone, for people.
    splits_digest : str
    select_by : str
        What its models were chosen by.
    class_names : tuple of str
    ids : ndarray of str, shape (M,)
        Of the rows of the predictions, which are sorted by repeat and id.
    oof : Predictions
        Of images that the predicting model had not seen.
    shift_ids : ndarray of str, shape (S,)
    shift_repeats : ndarray of int64, shape (S,)
    shift : ShiftPredictions, optional
        Under corruptions; with --shift only. Rows are sorted as above.
    settings : mapping of str to object
        By flag name, those that results depend on.
    """

    run: str
    name: str
    about: str
    splits_digest: str
    select_by: str
    class_names: tuple[str, ...]
    ids: NDArray[np.str_]
    oof: Predictions
    shift_ids: NDArray[np.str_]
    shift_repeats: Ints
    shift: ShiftPredictions | None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def images(self) -> list[int]:
        """Images of each class, whatever the repeats."""
        _, rows = np.unique(self.ids, return_index=True)
        found: list[int] = np.bincount(
            self.oof.labels[rows], minlength=len(self.class_names)
        ).tolist()
        return found


@dataclass(frozen=True)
class ExternalEvidence:
    """What the candidates of a run predicted for images from elsewhere.

    Parameters
    ----------
    ids : ndarray of str, shape (E,)
        Of the rows of the predictions, which are sorted by id.
    candidates : dict of str to Predictions
        By kind: best-fold, ensemble, soup, refit.
    """

    ids: NDArray[np.str_]
    candidates: dict[str, Predictions]


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
    found = [run for run in parents if run.info.run_id == word or run.info.run_name == word]
    if not found and len(word) >= _SHORTEST:
        found = [run for run in parents if run.info.run_id.startswith(word)]
    if len(found) > 1:
        ids = ", ".join(run.info.run_id[:8] for run in found)
        raise UserError(
            f"RUN {word}: {len(found)} runs are meant; give the beginning of one id: {ids}"
        )
    if found:
        return found[0]
    if re.fullmatch(r"[0-9a-f]{32}", word):
        return _parent(word, word)
    known = [str(run.info.run_name) for run in parents]
    raise UserError(f"RUN {word}: no such run{nearest(word, known)}; {_REMEDY}")


def read_evidence(run: Run) -> Evidence:
    """Download what a run predicted.

    Raises
    ------
    UserError
        It has no predictions, or they are damaged.
    """
    there = _names(run)
    missing = {"oof.npz", "summary.json"} - there
    if missing:
        raise UserError(
            f"{_where(run)}: has no {min(missing)}, it is {run.info.status}; give a run that "
            "finished"
        )
    with _reading(run) as folder:
        file = _fetch(run, "summary.json", folder)
        summary = read_summary(file, f"{_where(run)}: its summary.json")
        oof = _arrays(_fetch(run, "oof.npz", folder))
        shift = _arrays(_fetch(run, "shift.npz", folder)) if "shift.npz" in there else None
        return _evidence(run, summary, oof, shift)


def read_externals(run: Run) -> dict[str, ExternalEvidence]:
    """Download what a run's candidates predicted for images from elsewhere, by the sets' names.

    Raises
    ------
    UserError
        A file is damaged.
    """
    names = sorted(match[1] for one in _names(run) if (match := _EXTERNAL.fullmatch(one)))
    with _reading(run) as folder:
        return {name: _external(_fetch(run, f"external-{name}.npz", folder)) for name in names}


def _where(run: Run) -> str:
    return f"RUN {run.info.run_name} ({run.info.run_id[:8]})"


def _names(run: Run) -> set[str]:
    """Names of its files."""
    return {one.path for one in MlflowClient().list_artifacts(run.info.run_id)}


@contextmanager
def _reading(run: Run) -> Iterator[str]:
    """A folder to download into; whatever cannot be read becomes a UserError."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield folder
    except (ValueError, LookupError, OSError, zipfile.BadZipFile, MlflowException) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{_where(run)}: its files cannot be read ({reason})") from None


def _of_version(word: str) -> Run:
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
    experiments = [one.experiment_id for one in client.search_experiments()]
    found: list[Run] = []
    token: str | None = ""
    while token is not None:
        page = client.search_runs(
            experiments, "tags.`crossfold.kind` = 'parent'", page_token=token or None
        )
        found += page
        token = page.token or None
    return found


def _fetch(run: Run, name: str, folder: str) -> Path:
    return Path(
        mlflow.artifacts.download_artifacts(
            run_id=run.info.run_id, artifact_path=name, dst_path=folder
        )
    )


def _load(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _external(path: Path) -> ExternalEvidence:
    found = _load(path)
    order = np.argsort(found["ids"], kind="stable")
    labels, groups = (found[name][order] for name in ("labels", "groups"))
    each = found["candidate_probabilities"][:, order]
    kinds = found["candidates"].tolist()
    return ExternalEvidence(
        found["ids"][order],
        {kind: Predictions(labels, one, groups) for kind, one in zip(kinds, each, strict=True)},
    )


def _arrays(path: Path) -> Arrays:
    """Arrays of a file in the order of repeat and id."""
    found = _load(path)
    order = np.lexsort((found["ids"], found["repeat"]))
    by_row = {"ids", "labels", "fold", "repeat", "groups", "probabilities"}
    sorted_rows = {n: v[order] for n, v in found.items() if n in by_row}
    sorted_rows.setdefault("groups", sorted_rows["ids"])
    if "predicted" in found:
        sorted_rows |= {"predicted": found["predicted"][:, order]}
    return found | sorted_rows


def _evidence(run: Run, summary: Summary, oof: Arrays, shift: Arrays | None) -> Evidence:
    config, names = summary.config, tuple(summary.class_names)
    if oof["probabilities"].shape != (len(oof["ids"]), len(names)):
        raise ValueError(f"oof.npz: probabilities of {len(names)} classes expected")
    return Evidence(
        run.info.run_id,
        str(run.info.run_name),
        " on ".join(str(config[key]) for key in ("backbone", "data") if key in config),
        summary.splits_digest,
        str(config.get("select_by", "macro_f1")),
        names,
        oof["ids"],
        Predictions(oof["labels"], oof["probabilities"], oof["groups"], oof["fold"], oof["repeat"]),
        np.empty(0, np.str_) if shift is None else shift["ids"],
        np.empty(0, np.int64) if shift is None else shift["repeat"],
        None if shift is None else _shift(shift, len(names)),
        {name: value for name, value in config.items() if name in _SETTINGS},
    )


def _shift(arrays: Arrays, classes: int) -> ShiftPredictions:
    return ShiftPredictions(
        arrays["labels"], arrays["predicted"], arrays["corruptions"], arrays["groups"], classes,
        clusters(np.stack([arrays["repeat"], arrays["fold"]], axis=1)),
    )  # fmt: skip
