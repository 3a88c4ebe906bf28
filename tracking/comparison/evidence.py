"""What a finished run predicted, as MLflow keeps it."""

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from folds.archives import read_arrays
from folds.arrays import Ints
from folds.config import Config
from folds.errors import UserError, reason
from folds.evaluation.predictions import COLUMN, Predictions, ShiftPredictions, clusters
from tracking.formatting import sources
from tracking.places import check_there
from tracking.summary import Summary
from tracking.summary_file import read_summary

_SETTINGS = {name for group in Config().science.values() for name in group} - {"splits"}
_EXTERNAL = re.compile(r"external-(.+)\.npz")
_BY_ROW = ("ids", "labels", "fold", "repeat", "groups", "probabilities", "served")
HOLDOUT = "hold-out"
Arrays = dict[str, NDArray]


@dataclass(frozen=True)
class Evidence:
    """A run and its predictions.

    Parameters
    ----------
    run : str
        Id of the parent run.
    name : str
        The run's name.
    about : str
        Data and backbone, for people.
    splits_digest : str
        Equal in runs whose folds hold the same images.
    select_by : str
        What its models were chosen by.
    epoch_rule : str
        Which epoch its out-of-fold predictions are of: last, best or crossfit.
    class_names : tuple of str
        C names.
    ids : ndarray of str, shape (M,)
        Of the rows of the predictions, which are sorted by repeat and id.
    oof : Predictions
        Of images that the predicting model had not seen.
    served : Predictions
        The same as the registered model would give them, with ``--tta`` and ``--adapt``.
    shift_ids : ndarray of str, shape (S,)
    shift_repeats : ndarray of int64, shape (S,)
    shift : ShiftPredictions, optional
        Under corruptions; with --shift only. Rows are sorted as above.
    settings : mapping of str to object
        By flag name, those that results depend on.
    partial : str
        What is missing of the run, see `Summary.partial`; empty where nothing is.
    columns : mapping of str to ndarray of str, shape (M,)
        Sites and slices of the rows of the predictions; older runs did not write them.
    """

    run: str
    name: str
    about: str
    splits_digest: str
    select_by: str
    epoch_rule: str
    class_names: tuple[str, ...]
    ids: NDArray[np.str_]
    oof: Predictions
    served: Predictions
    shift_ids: NDArray[np.str_]
    shift_repeats: Ints
    shift: ShiftPredictions | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    partial: str = ""
    columns: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)

    @property
    def images(self) -> list[int]:
        """Images of each class, whatever the repeats."""
        _, rows = np.unique(self.ids, return_index=True)
        counts: list[int] = np.bincount(
            self.oof.labels[rows], minlength=len(self.class_names)
        ).tolist()
        return counts

    @property
    def served_otherwise(self) -> bool:
        """Whether the registered model looks at images otherwise, or adapts to them."""
        return not np.array_equal(self.served.probabilities, self.oof.probabilities)

    def take(self, rows: NDArray) -> Self:
        """That of some of the images."""
        return replace(
            self,
            ids=self.ids[rows],
            oof=self.oof.take(rows),
            served=self.served.take(rows),
            columns={name: values[rows] for name, values in self.columns.items()},
        )


@dataclass(frozen=True)
class ExternalEvidence:
    """What the candidates of a run predicted for images from elsewhere.

    Parameters
    ----------
    ids : ndarray of str, shape (E,)
        Of the rows of the predictions, which are sorted by id.
    candidates : dict of str to Predictions
        By kind: best-fold, ensemble, soup, refit, student.
    """

    ids: NDArray[np.str_]
    candidates: dict[str, Predictions]


def read_evidence(run: Run) -> Evidence:
    """Download what a run predicted.

    Raises
    ------
    UserError
        It has no predictions, or they are damaged; or they are lost, see `check_there`.
    """
    files = _files(run)
    missing = {"oof.npz", "summary.json"} - files
    if missing:
        raise UserError(
            f"{_where(run)}: has no {min(missing)}, it is {run.info.status}; give a run that "
            "finished"
        )
    summary = summary_of(run)
    with _reading(run) as folder:
        oof = _sorted(_fetch(run, "oof.npz", folder))
        shift = _sorted(_fetch(run, "shift.npz", folder)) if "shift.npz" in files else None
        return _evidence(run, summary, oof, shift)


def summary_of(run: Run) -> Summary:
    """Download the summary of a run that has one.

    Raises
    ------
    UserError
        It cannot be read.
    """
    with _reading(run) as folder:
        file = _fetch(run, "summary.json", folder)
        return read_summary(file, f"{_where(run)}: its summary.json")


def read_externals(run: Run) -> dict[str, ExternalEvidence]:
    """Download what a run's candidates predicted for images that no fold has seen.

    Returns
    -------
    dict
        By the names of the external sets; that of the run's own test part is `HOLDOUT`, which no
        set can have.

    Raises
    ------
    UserError
        A file is damaged; or they are lost, see `check_there`.
    """
    files = _files(run)
    names = sorted(match[1] for file in files if (match := _EXTERNAL.fullmatch(file)))
    with _reading(run) as folder:
        evidence = {
            name: _external(_load(_fetch(run, f"external-{name}.npz", folder))) for name in names
        }
        holdout = _load(_fetch(run, "holdout.npz", folder)) if "holdout.npz" in files else {}
        if "candidates" in holdout:  # older runs kept the folds' predictions alone
            evidence[HOLDOUT] = _external(holdout)
        return evidence


def _where(run: Run) -> str:
    return f"RUN {run.info.run_name} ({run.info.run_id[:8]})"


def _files(run: Run) -> set[str]:
    """Names of the run's files."""
    check_there(_where(run), run.info.artifact_uri)
    return {file.path for file in MlflowClient().list_artifacts(run.info.run_id)}


@contextmanager
def _reading(run: Run) -> Iterator[str]:
    """A folder to download into; whatever cannot be read becomes a UserError."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield folder
    except (ValueError, LookupError, OSError, MlflowException) as error:
        raise UserError(f"{_where(run)}: its files cannot be read ({reason(error)})") from None


def _fetch(run: Run, name: str, folder: str) -> Path:
    return Path(
        mlflow.artifacts.download_artifacts(
            run_id=run.info.run_id, artifact_path=name, dst_path=folder
        )
    )


def _load(path: Path) -> Arrays:
    return read_arrays(path)


def _external(arrays: Arrays) -> ExternalEvidence:
    order = np.argsort(arrays["ids"], kind="stable")
    labels, groups = (arrays[name][order] for name in ("labels", "groups"))
    each = arrays["candidate_probabilities"][:, order]
    kinds = arrays["candidates"].tolist()
    return ExternalEvidence(
        arrays["ids"][order],
        {kind: Predictions(labels, one, groups) for kind, one in zip(kinds, each, strict=True)},
    )


def _sorted(path: Path) -> Arrays:
    """Arrays of a file, their rows in the order of repeat and id, so that two runs' rows match."""
    arrays = _load(path)
    order = np.lexsort((arrays["ids"], arrays["repeat"]))
    rows = {n: v for n, v in arrays.items() if n in _BY_ROW or n.startswith(COLUMN)}
    in_order = {name: values[order] for name, values in rows.items()}
    in_order.setdefault("groups", in_order["ids"])  # older runs did not write groups
    if "predicted" in arrays:
        in_order["predicted"] = arrays["predicted"][:, order]
    return arrays | in_order


def _evidence(run: Run, summary: Summary, oof: Arrays, shift: Arrays | None) -> Evidence:
    config, names = summary.config, tuple(summary.class_names)
    served = oof.get("served", oof["probabilities"])
    if {oof["probabilities"].shape, served.shape} != {(len(oof["ids"]), len(names))}:
        raise ValueError(f"oof.npz: probabilities of {len(names)} classes expected")
    predictions = Predictions(
        oof["labels"],
        oof["probabilities"],
        oof["groups"],
        oof["fold"],
        oof["repeat"],
        config.get("folds"),
    )
    return Evidence(
        run.info.run_id,
        str(run.info.run_name),
        " on ".join(sources(config[key]) for key in ("backbone", "data") if key in config),
        summary.splits_digest,
        str(config.get("select_by", "macro_f1")),
        summary.epoch_choice.rule,
        names,
        oof["ids"],
        predictions,
        replace(predictions, probabilities=served),
        np.empty(0, np.str_) if shift is None else shift["ids"],
        np.empty(0, np.int64) if shift is None else shift["repeat"],
        None if shift is None else _shift(shift, len(names)),
        {name: value for name, value in config.items() if name in _SETTINGS},
        summary.partial,
        {n.removeprefix(COLUMN): v for n, v in oof.items() if n.startswith(COLUMN)},
    )


def _shift(arrays: Arrays, classes: int) -> ShiftPredictions:
    return ShiftPredictions(
        arrays["labels"], arrays["predicted"], arrays["corruptions"], arrays["groups"], classes,
        clusters(np.stack([arrays["repeat"], arrays["fold"]], axis=1)),
    )  # fmt: skip
