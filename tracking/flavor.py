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

from folds.evaluation.costs import least_cost
from folds.model.decision import Decision, joined
from folds.model.inputs import ANYWHERE
from folds.model.mixture import MixturePredictor, open_bundle
from folds.model.predictor import Answers, Predictor
from folds.runtime.cpu import keep_memory

PREDICTED, SET, TYPICALITY = "predicted_class", "prediction_set", "typicality"
_logger = logging.getLogger(__name__)


class Scorer:
    """What MLflow wraps: a bundle that takes images and gives a table.

    Parameters
    ----------
    predictor : Predictor or MixturePredictor
    decision : Decision, optional
        How it decides where it is unsure; without one it answers the most probable class.
    """

    def __init__(
        self, predictor: Predictor | MixturePredictor, decision: Decision | None = None
    ) -> None:
        self._predictor, self.decision = predictor, decision

    @property
    def knows_typicality(self) -> bool:
        """Whether it gives `folds.model.predictor.Answers.typicality`."""
        return self._predictor.knows_typicality

    def predict(self, images: Any) -> pd.DataFrame:
        """What the model says of images, a row each.

        Parameters
        ----------
        images : array, DataFrame, dict or list of dicts
            See `folds.model.inputs.batches`.

        Returns
        -------
        DataFrame
            Column ``predicted_class``, the probability (float32) of each class by its name, and
            with a decision ``prediction_set``: names of classes, see `folds.model.decision.joined`;
            where it is known ``typicality`` (float32), see `folds.model.typicality`.
        """
        return self.table(self.answer(images))

    def answer(
        self,
        images: Any,
        *,
        adapt: str | None = None,
        tell: Callable[[str], None] = _logger.warning,
    ) -> Answers:
        """What the bundle says of images, see `folds.model.predictor.Opened.answer`."""
        return self._predictor.answer(images, folder=_readable(), adapt=adapt, tell=tell)

    def table(self, answers: Answers) -> pd.DataFrame:
        """The table that `predict` gives."""
        names, decision = self._predictor.card.class_names, self.decision
        probabilities = answers.probabilities
        table = pd.DataFrame(probabilities, columns=pd.Index(names))
        chosen = least_cost(probabilities, None if decision is None else decision.cost_matrix)
        # a class of images may itself be called predicted_class
        table.insert(0, PREDICTED, [names[n] for n in chosen], allow_duplicates=True)
        if decision is not None:
            sets = [
                joined([names[n] for n in row.nonzero()[0]]) for row in decision.sets(probabilities)
            ]
            table.insert(len(table.columns), SET, sets, allow_duplicates=True)
        if (known := answers.typicality) is not None:
            table.insert(len(table.columns), TYPICALITY, known, allow_duplicates=True)
        return table


def _readable() -> Path | None:
    """Where files may be read: a server reads none for a stranger, unless it was told a folder."""
    if folder := os.environ.get("CROSSFOLD_SERVE_PATHS"):
        return Path(folder)
    return None if _serving() else ANYWHERE


def _serving() -> bool:
    return "mlflow.pyfunc.scoring_server" in sys.modules


def load_scorer(bundle: Path) -> Scorer:
    """Open a bundle; raises what `open_bundle` and `Decision.read` raise."""
    predictor = open_bundle(bundle)
    return Scorer(predictor, Decision.read(bundle, predictor.card.class_names))


def _load_pyfunc(path: str) -> Scorer:
    """Load the bundle that `tracking.models.log_model` stored, for MLflow."""
    if _serving():  # in a process of somebody else's, how memory is kept is his affair
        keep_memory()
    return load_scorer(Path(path))
