"""Batches of images on the device, from wherever the images have room.

All of them stay on the device if they fit: a batch is then one indexing there. Else a thread
gathers each batch from memory, or reads it from a file, while the network is busy with the batch
before: at most two batches are held, and a step waits only where fetching takes longer than the
network does.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from folds.arrays import Ints
from folds.images.pixelfile import PixelFile, Pixels, pieces
from folds.runtime.device import as_tensor

ROOM = 0.6  # share of a GPU's free memory that images may take; a step needs the rest


class BatchLoader:
    """Gives out a run's images batch by batch on one device.

    Parameters
    ----------
    pixels : ndarray of uint8 or PixelFile, shape (N, H, W, 3)
    device : torch.device
    room : int, optional
        Bytes of the device's memory that the images may take; default: `ROOM` of what is free.

    Notes
    -----
    The batches are the same wherever the images live. At most two batches at a time are held
    beyond what lives in memory.
    """

    def __init__(self, pixels: Pixels, device: torch.device, *, room: int | None = None) -> None:
        self._pixels, self._device = pixels, device
        self._resident: Tensor | None = None
        if device.type == "cpu":
            if not isinstance(pixels, PixelFile):
                self._resident = as_tensor(pixels)
        else:
            free, _ = torch.cuda.mem_get_info(device)
            if pixels.nbytes <= (ROOM * free if room is None else room):
                self._resident = _resident(pixels, device)

    def batches(self, parts: Sequence[Ints]) -> Iterator[tuple[Tensor, Tensor]]:
        """Give batch after batch, the next one being fetched meanwhile.

        Parameters
        ----------
        parts : sequence of ndarray of int64, shape (B,) each
            Rows of each batch.

        Yields
        ------
        rows : Tensor of int64, shape (B,)
            Of `parts`, in order, on the device.
        pixels : Tensor of uint8, shape (B, H, W, 3)
            On the device.
        """
        placed = rows_on(self._device, parts)
        if self._resident is not None:
            yield from ((rows, self._resident[rows]) for rows in placed)
            return
        with ThreadPoolExecutor(1) as pool:
            ahead: deque[Future[Tensor]] = deque()
            for part in parts:
                ahead.append(pool.submit(self._fetch, part))
                if len(ahead) > 1:
                    yield next(placed), self._to_device(ahead.popleft())
            while ahead:
                yield next(placed), self._to_device(ahead.popleft())

    def _to_device(self, fetched: Future[Tensor]) -> Tensor:
        """Copy a batch to the device on the caller's thread, whose stream will use it."""
        return fetched.result().to(self._device, non_blocking=True)

    def _fetch(self, rows: Ints) -> Tensor:
        """Copy rows together in the machine's memory, pinned if a GPU shall fetch them."""
        shape = (len(rows), *self._pixels.shape[1:])
        batch = torch.empty(shape, dtype=torch.uint8, pin_memory=self._device.type == "cuda")
        if isinstance(self._pixels, PixelFile):
            self._pixels.read_into(batch.numpy(), rows)
        else:
            torch.index_select(as_tensor(self._pixels), 0, torch.from_numpy(rows), out=batch)
        return batch


def rows_on(device: torch.device, parts: Sequence[Ints]) -> Iterator[Tensor]:
    """Row numbers on the device: sent all at once, since each copy would wait for the device."""
    if parts:
        together = torch.from_numpy(np.concatenate(parts)).to(device)
        yield from torch.split(together, [len(part) for part in parts])


def _resident(pixels: Pixels, device: torch.device) -> Tensor:
    """Copy all images to the device, some at a time: a file need not fit into memory."""
    resident = torch.empty(pixels.shape, dtype=torch.uint8, device=device)
    for rows in pieces(pixels.shape):
        resident[rows] = as_tensor(pixels[rows]).to(device)
    return resident
