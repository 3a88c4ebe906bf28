"""The workers that share one fold, through torch.distributed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.futures import Future

from folds.sampling import worker_slice


@dataclass(frozen=True)
class Workers:
    """This worker's place among the workers of its fold.

    Parameters
    ----------
    rank : int
        0 to size - 1; rank 0 speaks for all.
    size : int
        Number of workers.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> "Workers":
        """The process group that is set up, or one worker alone."""
        if not dist.is_initialized():
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    def sum(self, values: Tensor) -> Tensor:
        """Sum of a tensor over all workers, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def sum_through(self, values: Tensor) -> Tensor:
        """Sum of a tensor over all workers, through which gradients flow."""
        if self.size == 1:
            return values
        total: Tensor = _Sum.apply(values)
        return total

    def slice(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """This worker's part of some rows."""
        return worker_slice(rows, self.rank, self.size)

    def microbatches(self, rows: NDArray[np.int64], number: int) -> list[NDArray[np.int64]]:
        """This worker's part of each of some pieces of rows, whose sizes differ by at most one."""
        return [self.slice(piece) for piece in np.array_split(rows, number)]

    def gather(self, mine: Tensor, rows: int) -> Tensor:
        """Put the parts that `slice` divided together again, on every worker.

        Parameters
        ----------
        mine : Tensor, shape (n, C)
            This worker's part.
        rows : int
            Rows of all parts.

        Returns
        -------
        Tensor, shape (rows, C)
        """
        if self.size == 1:
            return mine
        longest = -(-rows // self.size)  # all_gather wants parts of one size
        padded = mine.new_zeros(longest, mine.shape[1])
        padded[: len(mine)] = mine
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        lengths = [len(worker_slice(np.arange(rows), rank, self.size)) for rank in range(self.size)]
        return torch.cat([part[:n] for part, n in zip(parts, lengths, strict=True)])

    def gather_through(self, mine: Tensor, rows: int) -> Tensor:
        """As `gather`, and gradients flow through it."""
        if self.size == 1:
            return mine
        before = sum(len(worker_slice(np.arange(rows), r, self.size)) for r in range(self.rank))
        after = rows - before - len(mine)
        return self.sum_through(torch.nn.functional.pad(mine, (0, 0, before, after)))


class _Sum(torch.autograd.Function):
    """The sum over all workers; each one's gradient is the sum of what all pass back."""

    @staticmethod
    def forward(_ctx: Any, values: Tensor) -> Tensor:
        """The sum of all workers' values, the same on each of them."""
        total = values.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """The sum of the gradients that reach the workers' copies of the sum."""
        return _Sum.forward(ctx, gradients[0])


def summed(_state: object, bucket: dist.GradBucket) -> Future[Tensor]:  # type: ignore[name-defined]
    """Sum gradients over the workers, in their own float32 (a communication hook of DDP).

    DDP would divide by the number of workers, whose parts of a batch may differ in size. To make
    up for it in the loss would let float16's gradients overflow the sooner the more workers.
    """
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    return work.get_future().then(lambda done: done.value()[0])
