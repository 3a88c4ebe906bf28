"""Ray Train's trainer for a lane, with as few processes as the lane needs.

Around every trainer Ray starts a controller and four actors; each imports for about two seconds
on a core. A lane of one worker has no process group, datasets or placement group to care for, and a
Ray of this machine alone cannot grow, so nothing need tell an autoscaler what a lane wants.
"""

from collections.abc import Callable
from typing import Any

_PRIVATE = ("_create_default_callbacks", "_initialize_and_run_controller")
COLLECTIVE_S = 600  # of workers that wait for one another: one may still copy its images
_NOT_NEEDED = {"DatasetsCallback", "PlacementGroupCleanerCallback"}
NOT_LEAN = (
    "this version of Ray has no known way to start a lane with fewer processes: lanes start "
    "some seconds later, and train the same; constraints.txt names the tested version"
)


def lean_trainer(*, grows: bool = True) -> type | None:
    """Ray's trainer without process group, whose controller needs no torch.

    Parameters
    ----------
    grows : bool
        Whether Ray may be able to start further machines for a lane.

    Returns
    -------
    type or None
        None where this version of Ray lacks the private methods that say what a trainer starts.
    """
    try:
        from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
        from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
    except ImportError:
        return None
    if not all(hasattr(DataParallelTrainer, name) for name in _PRIVATE):
        return None

    class NoAutoscaler(FixedScalingPolicy):  # type: ignore[misc]
        def after_controller_start(self, train_run_context: Any) -> None:
            pass

        def _maybe_send_resource_request(self) -> None:
            pass

    class LeanTrainer(DataParallelTrainer):  # type: ignore[misc]
        def _create_default_callbacks(self) -> list[Any]:
            callbacks = super()._create_default_callbacks()
            return [each for each in callbacks if type(each).__name__ not in _NOT_NEEDED]

        def _initialize_and_run_controller(self, **options: Any) -> Any:
            if not grows:
                options["scaling_policy"] = NoAutoscaler(scaling_config=self.scaling_config)
            return super()._initialize_and_run_controller(**options)

    return LeanTrainer


def make_trainer(
    work: Callable[[dict[str, Any]], object],
    *,
    workers: int,
    backend: str,
    grows: bool = True,
    **options: Any,
) -> Any:
    """Make the trainer of a lane.

    Parameters
    ----------
    work : callable
        What each worker runs.
    workers : int
        DDP workers; above 1 they get a process group.
    backend : {"nccl", "gloo"}
        Of the process group.
    grows : bool
        See `lean_trainer`.
    **options
        As Ray's trainers take them.
    """
    lean = lean_trainer(grows=grows) if workers == 1 else None
    if lean is not None:
        return lean(work, **options)
    from ray.train.torch import TorchConfig, TorchTrainer

    group = TorchConfig(backend=backend, timeout_s=COLLECTIVE_S)
    return TorchTrainer(work, torch_config=group, **options)
