"""When a device's memory is full: telling that from other errors, and computing less at once."""

import gc
from collections.abc import Callable

import torch
from torch import Tensor

# what torch, its libraries and C++ say where they do not raise torch.OutOfMemoryError
_FULL = (
    "out of memory",
    "can't allocate memory",
    "could not create a memory object",
    "could not create a primitive",
    "could not execute a primitive",
    "ALLOC_FAILED",
    "std::bad_alloc",
)


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, says that a GPU's memory or the machine's is full."""
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            return True
        if isinstance(error, RuntimeError) and any(words in str(error) for words in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def free_memory() -> None:
    """Give back what nobody refers to any more: call it when the error is no longer held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class Pieces:
    """Computes something of many images, on as many at once as there is memory for.

    Where there is too little memory, the work is done in halves, and so is all that comes later.
    For passes without gradients: an image's result is that of a larger piece up to rounding, and
    no other worker need hear of it.
    """

    def __init__(self) -> None:
        self._most: int | None = None

    def __call__(self, count: int, function: Callable[[slice], Tensor]) -> Tensor:
        """Compute the rows of some images.

        Parameters
        ----------
        count : int
            Images.
        function : callable
            Gives the rows, shape (n, ...), of a range of n images.

        Returns
        -------
        Tensor, shape (count, ...)

        Raises
        ------
        torch.OutOfMemoryError, RuntimeError or MemoryError
            There is no room for one image.
        """
        outputs: list[Tensor] = []
        first = 0
        while first < count or not outputs:
            size = min(self._most or count, count - first)
            output = _tried(function, slice(first, first + size))
            if output is None:
                free_memory()
                self._most = -(-size // 2)
            else:
                outputs.append(output)
                first += size
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _tried(function: Callable[[slice], Tensor], part: slice) -> Tensor | None:
    """What a function gives, or None where memory is too small for it and the part can be cut."""
    try:
        return function(part)
    except (RuntimeError, MemoryError) as error:
        if part.stop - part.start <= 1 or not out_of_memory(error):
            raise
        return None
