"""Decoding files over the cluster with Ray Data; the only place that knows it.

The functions that decode are those of `folds.images`, so the pixels are the same as in memory.
The tasks import little: they start sooner without torch.
"""

import io
import logging
import math
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from folds.images.listing import Listing, read
from folds.images.pixelfile import PixelWriter

_BLOCK = 4 * 2**20  # bytes of decoded images that travel together
_UNDER_WAY = 4  # blocks for each core that may lie in Ray's object store, but at least:
_LEAST = 64 * 2**20  # bytes of it
_READERS = 2  # tasks that read files beside the driver

Batch = dict[str, NDArray[Any]]


def decode(listing: Listing, writer: PixelWriter) -> NDArray[np.bool_]:
    """Decode files over the cluster and write each image into its row.

    Files are read and images written beside the driver, so the other machines need neither.

    Parameters
    ----------
    listing : Listing
        N files.
    writer : PixelWriter
        Open, with room for all of them.

    Returns
    -------
    ndarray of bool, shape (N,)
        Which files were readable; the rows of the others are arbitrary.

    Notes
    -----
    Blocks of some megabytes are taken as they come, in any order, and Ray Data waits when
    those under way fill its share of the object store: memory does not grow with N.
    """
    import ray.data

    configure(ray.data.DataContext.get_current())
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    count = len(listing.ids)
    blocks = math.ceil(count / max(1, _BLOCK // math.prod(listing.shape[1:])))
    readers = ray.data.TaskPoolStrategy(size=min(_READERS, blocks))
    fetch = partial(_fetch, listing.root.absolute(), ray.put(listing.ids))
    # without a core of their own, reading and writing leave all cores to decoding
    beside = {"batch_size": None, "num_cpus": 0, "label_selector": here}
    done = (
        ray.data.range(count, override_num_blocks=blocks)
        .map_batches(fetch, compute=readers, **beside)
        .map_batches(partial(_decode, listing.side, listing.levels), batch_size=None, num_cpus=1)
        .map_batches(partial(_write, writer), compute=ray.data.TaskPoolStrategy(size=1), **beside)
    )
    good = np.zeros(count, dtype=bool)
    for batch in done.iter_batches(batch_size=None):
        good[batch["row"]] = batch["good"]
    return good


def configure(context: Any) -> None:
    """Have Ray Data say little, and hold some blocks for each core under way."""
    verbose = "CROSSFOLD_VERBOSE" in os.environ
    logging.getLogger("ray.data").setLevel(logging.INFO if verbose else logging.CRITICAL)
    context.enable_progress_bars = context.print_on_execution_start = verbose
    context.target_max_block_size = 2 * _BLOCK
    context.execution_options.resource_limits = ray.data.ExecutionResources.for_limits(
        object_store_memory=max(_LEAST, _UNDER_WAY * _BLOCK * ray.cluster_resources().get("CPU", 0))
    )


def _fetch(root: Path, ids: ray.ObjectRef, batch: Batch) -> Batch:
    """Fetch the bytes of some files; none of a file that cannot be opened."""
    names = ray.get(ids)[batch["id"]]
    content = np.empty(len(names), dtype=object)
    content[:] = [content_of(root / name) for name in names.tolist()]
    return {"row": batch["id"], "content": content}


def content_of(file: Path) -> bytes:
    """A file's bytes; none of one that cannot be opened."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _decode(side: int, levels: float | None, batch: Batch) -> Batch:
    images = [read(io.BytesIO(content), side, levels) for content in batch["content"]]
    blank = np.zeros((side, side, 3), dtype=np.uint8)
    pixels = np.stack([blank if image is None else image for image in images])
    good = np.array([image is not None for image in images])
    return {"row": batch["row"], "pixels": pixels, "good": good}


def _write(writer: PixelWriter, batch: Batch) -> Batch:
    writer.write(batch["row"], batch["pixels"])
    return {"row": batch["row"], "good": batch["good"]}
