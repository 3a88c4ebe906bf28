"""The outputs of the frozen front, computed by all workers together and kept by Ray."""

from collections.abc import Sequence

import ray
import torch
from ray.actor import ActorHandle
from torch import Tensor

from distributed.lanes.ledger import Piece
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
    extractor: FrozenFeatureExtractor | None = None
    piece: Piece | None
    while (piece := ray.get(ledger.next_piece.remote())) is not None:
        extractor = extractor or FrozenFeatureExtractor(problem, runtime)
        output = extractor.outputs(piece.view, piece.first, piece.last)
        ray.get(ledger.deliver.remote(piece, to_array(output)))
    outputs = ray.get(ledger.outputs.remote())
    return _Outputs(outputs) if outputs else no_frozen_features


class _Outputs:
    """Fetches a view from the object store."""

    def __init__(self, outputs: dict[Piece, "ray.ObjectRef"]) -> None:
        self._refs: dict[View, list[ray.ObjectRef]] = {}
        for piece in sorted(outputs, key=lambda piece: piece.first):
            self._refs.setdefault(piece.view, []).append(outputs[piece])

    def __call__(self, view: View) -> Tensor | None:
        """Outputs of all images in a view, shape (N, ...), or None."""
        if view not in self._refs:
            return None
        return torch.cat([to_tensor(array) for array in ray.get(self._refs[view])])
