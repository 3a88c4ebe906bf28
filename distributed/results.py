"""A finished fold as files, so that the process that keeps them needs no torch."""

import io
import json
from dataclasses import asdict

import numpy as np

from distributed.workspace import LAST
from folds.bundle import ModelCard, bundle_files
from folds.fit import FoldResult


def pack(result: FoldResult, card: ModelCard) -> dict[str, bytes]:
    """Contents by path in the fold's folder, in the order in which they are to be written."""
    arrays = io.BytesIO()
    np.savez(arrays, rows=result.rows, probabilities=result.probabilities, holdout=result.holdout)
    content = {
        "best_epoch": result.best_epoch,
        "averaged": result.averaged,
        "scores": result.scores,
        "history": [asdict(report) for report in result.history],
    }
    bundle = {f"bundle/{name}": text for name, text in bundle_files(card, result.weights).items()}
    return bundle | {"result.npz": arrays.getvalue(), LAST: json.dumps(content).encode()}
