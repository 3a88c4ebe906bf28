"""What is computed once for all folds: who computes which part, and what is there."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from numpy.typing import NDArray

from folds.training.frozen_view import View


@dataclass(frozen=True)
class Piece:
    """A range of images whose outputs of the frozen front a worker shall compute.

    Parameters
    ----------
    view : View
        In which view.
    first, last : int
        Rows ``first`` to ``last - 1``.
    """

    view: View
    first: int
    last: int


class Pieces:
    """Hands out pieces and keeps what they give.

    Parameters
    ----------
    pieces : sequence of Piece
        In the order in which they are needed.
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._wanted = list(pieces)
        self._outputs: dict[Piece, Any] = {}
        self.began, self.ended = 0.0, 0.0  # the first given, the last delivered

    def next(self) -> Piece | None:
        """Give a worker a piece, or None when all are there.

        When every piece has been given, those not yet delivered are given again: the worker has
        nothing else to do, and another may have been lost.
        """
        self.began = self.began or time.monotonic()
        piece = next((piece for piece in self._wanted if piece not in self._outputs), None)
        if piece is not None:
            self._wanted.remove(piece)
            self._wanted.append(piece)
        return piece

    def deliver(self, piece: Piece, output: NDArray) -> None:
        """Keep a piece in the object store, where it outlives the worker that computed it."""
        if piece in self._wanted and piece not in self._outputs:
            self._outputs[piece] = ray.put(output)
            self.ended = time.monotonic()

    def outputs(self) -> dict[Piece, Any] | None:
        """References to all pieces, or None where some have not been delivered."""
        return dict(self._outputs) if len(self._outputs) == len(self._wanted) else None

    def give_up(self) -> None:
        """Want none any more."""
        self._wanted.clear()
        self._outputs.clear()
