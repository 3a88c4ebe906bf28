"""Ray Train's trainer for a lane, with as few processes as the lane needs.

Around every trainer Ray starts a controller and four actors; each imports for about two seconds
on a core. A lane of one worker has no process group, datasets or placement group to care for.
"""

from collections.abc import Callable
from typing import Any

from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

_NOT_NEEDED = {"DatasetsCallback", "PlacementGroupCleanerCallback"}


class _OneWorkerTrainer(DataParallelTrainer):  # type: ignore[misc]
    """A trainer without process group, whose controller needs no torch."""

    def _create_default_callbacks(self) -> list[Any]:
        found = super()._create_default_callbacks()
        return [callback for callback in found if type(callback).__name__ not in _NOT_NEEDED]


def make_trainer(
    work: Callable[[dict[str, Any]], None], *, workers: int, backend: str, **options: Any
) -> DataParallelTrainer:
    """Make the trainer of a lane.

    Parameters
    ----------
    work : callable
        What each worker runs.
    workers : int
        DDP workers; above 1 they get a process group.
    backend : {"nccl", "gloo"}
        Of the process group.
    **options
        As Ray's trainers take them.
    """
    if workers == 1:
        return _OneWorkerTrainer(work, **options)
    from ray.train.torch import TorchConfig, TorchTrainer

    return TorchTrainer(work, torch_config=TorchConfig(backend=backend), **options)
