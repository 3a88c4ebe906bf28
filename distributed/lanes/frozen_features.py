"""The outputs of the frozen front, computed by all workers together and kept by Ray."""

from collections.abc import Callable, Sequence
from functools import partial

import ray
import torch
from ray.actor import ActorHandle
from ray.exceptions import ObjectLostError
from torch import Tensor

from distributed.lanes.pieces import Piece
from folds.runtime.device import Runtime
from folds.training.frozen import (
    FrozenFeatureExtractor,
    FrozenFeatures,
    no_frozen_features,
    to_array,
    to_tensor,
)
from folds.training.frozen_view import View
from folds.training.problem import Problem

Outputs = dict[Piece, "ray.ObjectRef"]
PIECE_ROWS = 512  # so that workers end at about the same time, and few calls are made


def cut(views: Sequence[View], images: int) -> list[Piece]:
    """Cut views into pieces, the earliest needed first."""
    return [
        Piece(view, first, min(first + PIECE_ROWS, images))
        for view in views
        for first in range(0, images, PIECE_ROWS)
    ]


def compute_frozen_features(
    problem: Problem, runtime: Runtime, ledger: ActorHandle
) -> FrozenFeatures:
    """Compute pieces until all are there, then give access to all.

    Every worker of every lane calls this before its first fold.
    """
    compute = partial(_compute, problem, runtime, ledger)
    outputs = compute()
    return _Outputs(outputs, compute) if outputs else no_frozen_features


def _compute(problem: Problem, runtime: Runtime, ledger: ActorHandle) -> Outputs:
    """Compute what is missing, with all workers that do so as well."""
    extractor: FrozenFeatureExtractor | None = None
    outputs: Outputs | None
    while (outputs := ray.get(ledger.outputs.remote())) is None:
        piece: Piece | None
        while (piece := ray.get(ledger.next_piece.remote())) is not None:
            extractor = extractor or FrozenFeatureExtractor(problem, runtime)
            output = extractor.outputs(piece.view, piece.first, piece.last)
            ray.get(ledger.deliver.remote(piece, to_array(output)))
    return outputs


class _Outputs:
    """Fetches a view from the object store; what was lost with the ledger is computed again."""

    def __init__(self, outputs: Outputs, compute: Callable[[], Outputs]) -> None:
        self._outputs, self._compute = outputs, compute

    def __call__(self, view: View) -> Tensor | None:
        """Outputs of all images in a view, shape (N, ...), or None."""
        pieces = sorted((p for p in self._outputs if p.view == view), key=lambda piece: piece.first)
        if not pieces:
            return None
        try:
            arrays = ray.get([self._outputs[piece] for piece in pieces])
        except ObjectLostError:
            self._outputs = self._compute()
            return self(view)
        return torch.cat([to_tensor(array) for array in arrays])
