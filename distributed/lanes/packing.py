"""A finished fold as files, so that the process that keeps them needs no torch."""

import io
import json
from dataclasses import asdict
from typing import Any

import numpy as np

from distributed.workspace import LAST
from folds.model.bundle import ModelCard, bundle_files
from folds.training.result import FoldResult


def pack(result: FoldResult, card: ModelCard) -> dict[str, bytes]:
    """Contents by path in the fold's folder, in the order in which they are to be written."""
    arrays = io.BytesIO()
    names = ("rows", "probabilities", "holdout", "features")
    values: dict[str, Any] = {name: getattr(result, name) for name in names}
    values |= {f"other_view_{name}": found for name, found in result.other_views.items()}
    values |= {f"external_{name}": found for name, found in result.external.items()}
    values |= {"shift_rows": result.shift.rows, "shift_predicted": result.shift.predicted}
    np.savez(arrays, **values)
    content = {
        "best_epoch": result.best_epoch,
        "averaged": result.averaged,
        "scores": result.scores,
        "other_view_scores": result.other_view_scores,
        "measured": result.measured,
        "history": [asdict(report) for report in result.history],
    }
    bundle = {f"bundle/{name}": text for name, text in bundle_files(card, result.weights).items()}
    return bundle | {"result.npz": arrays.getvalue(), LAST: json.dumps(content).encode()}
