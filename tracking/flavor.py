"""The loader of a registered model: MLflow calls `_load_pyfunc`, and nothing is unpickled.

Together with `folds` this module is stored inside each model, so a model loads where crossfold
is not installed.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from folds.bundle import Predictor


class _Scorer:
    """What MLflow wraps: uint8 images (N, H, W, 3) in, probabilities (N, C) out."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, images: Any) -> NDArray[np.float32]:
        return self._predictor.predict(np.asarray(images))


def _load_pyfunc(path: str) -> _Scorer:
    """Load the bundle that `tracking.models.log_model` stored."""
    return _Scorer(Predictor(Path(path)))
