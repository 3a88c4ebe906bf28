"""The file of images where it is needed: each machine fetches it once, through Ray."""

from collections import deque
from dataclasses import replace
from pathlib import Path

import numpy as np
import ray
from numpy.typing import NDArray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distributed.data import scratch
from folds.images.pixelfile import PixelFile, PixelWriter, pieces
from folds.training.problem import Problem

_AHEAD = 2  # pieces under way
_END_S = 30.0


class NodeFile(PixelFile):
    """A `PixelFile` that knows which machine of the cluster it lies on.

    Parameters
    ----------
    path : Path
        In a folder of `distributed.data.scratch`, on this machine.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.node = _here()


def _here() -> str:
    return ray.get_runtime_context().get_node_id()


def localize(problem: Problem) -> Problem:
    """The problem with its images on this machine; fetches them if this is the first to ask.

    Raises
    ------
    UserError
        There is no place to write them to.
    """
    pixels = problem.images.pixels
    if not isinstance(pixels, NodeFile) or pixels.node == _here():
        return problem
    named = problem.config.cluster.stream_dir is not None  # then it is one path on all machines
    place = pixels.path.parents[1] if named else scratch.root(None)
    folder = scratch.claim(place, pixels.path.parent.name)
    here = fetch(pixels, folder / pixels.path.name)
    return replace(problem, images=replace(problem.images, pixels=here))


def fetch(source: NodeFile, target: Path) -> PixelFile:
    """Copy a file from its machine to this one in pieces, unless somebody has done so."""
    with scratch.locked(target.with_name("fetching")):
        if not target.exists():
            _copy(source, target)
    return PixelFile(target)


def _copy(source: NodeFile, target: Path) -> None:
    read = ray.remote(_rows).options(num_cpus=0, scheduling_strategy=_on(source.node))
    parts = list(pieces(source.shape))
    coming = deque(read.remote(source, rows) for rows in parts[:_AHEAD])
    with PixelWriter(target, source.shape) as writer:
        for number, rows in enumerate(parts):
            for after in parts[number + _AHEAD : number + _AHEAD + 1]:
                coming.append(read.remote(source, after))
            writer.write(np.arange(rows.start, rows.stop), ray.get(coming.popleft()))
        writer.finish()


def _rows(source: PixelFile, rows: slice) -> NDArray[np.uint8]:
    return source[rows]


def forget(stream_dir: str | None, folder: Path) -> None:
    """Delete the copies that other machines have; one that does not answer is left alone."""
    if not ray.is_initialized():
        return
    place = None if stream_dir is None else str(folder.parent)
    others = [n["NodeID"] for n in ray.nodes() if n["Alive"] and n["NodeID"] != _here()]
    clean = ray.remote(scratch.discard)
    waiting = [
        clean.options(num_cpus=0, scheduling_strategy=_on(node)).remote(place, folder.name)
        for node in others
    ]
    if waiting:
        ray.wait(waiting, num_returns=len(waiting), timeout=_END_S)


def _on(node: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node, soft=False)
