"""The loader of a registered model: MLflow calls `_load_pyfunc`, and nothing is unpickled.

Together with `folds` this module is stored inside each model, so a model loads where crossfold
is not installed.
"""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from folds.model.bundle import Predictor
from folds.model.inputs import ANYWHERE
from folds.model.mixture import MixturePredictor, open_bundle
from folds.runtime.cpu import keep_memory

_logger = logging.getLogger(__name__)


class Scorer:
    """What MLflow wraps: a bundle that takes images and gives a table."""

    def __init__(self, predictor: Predictor | MixturePredictor) -> None:
        self._predictor = predictor

    def predict(
        self,
        images: Any,
        *,
        adapt: str | None = None,
        tell: Callable[[str], None] = _logger.warning,
    ) -> pd.DataFrame:
        """Column ``predicted_class``, then the probability (float32) of each class by its name.

        Parameters
        ----------
        images : array, DataFrame, dict or list of dicts
            See `folds.model.inputs.batches`.
        adapt, tell
            See `folds.model.bundle.Predictor.predict`.
        """
        names = self._predictor.card.class_names
        probabilities = self._predictor.predict(images, folder=_readable(), adapt=adapt, tell=tell)
        table = pd.DataFrame(probabilities, columns=pd.Index(names))
        predicted = [names[number] for number in probabilities.argmax(axis=1)]
        # a class of images may itself be called predicted_class
        table.insert(0, "predicted_class", predicted, allow_duplicates=True)
        return table


def _readable() -> Path | None:
    """Where files may be read: a server reads none for a stranger, unless it was told a folder."""
    if folder := os.environ.get("CROSSFOLD_SERVE_PATHS"):
        return Path(folder)
    return None if _serving() else ANYWHERE


def _serving() -> bool:
    return "mlflow.pyfunc.scoring_server" in sys.modules


def load_scorer(bundle: Path) -> Scorer:
    """Open a bundle; raises what `open_bundle` raises."""
    return Scorer(open_bundle(bundle))


def _load_pyfunc(path: str) -> Scorer:
    """Load the bundle that `tracking.models.log_model` stored, for MLflow."""
    if _serving():  # in a process of somebody else's, how memory is kept is his affair
        keep_memory()
    return load_scorer(Path(path))
