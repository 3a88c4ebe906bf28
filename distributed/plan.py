"""How folds are laid over a cluster: a pure function of resources and wishes."""

import math
from dataclasses import dataclass
from typing import Literal

from folds.errors import UserError


@dataclass(frozen=True)
class Resources:
    """What a cluster has, now or at most.

    Parameters
    ----------
    cpus, gpus : int
        Of all nodes together.
    nodes : tuple of int
        Cores of each node.
    """

    cpus: int
    gpus: int
    nodes: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """Lanes of workers through which the folds flow.

    Parameters
    ----------
    device : {"cpu", "cuda"}
    lanes : int
        Folds trained at the same time, each by one Ray Train worker group.
    workers : int
        DDP workers of a lane.
    threads : int
        Cores of a worker; one where a GPU does the work.
    tasks : int
        Folds times repeats.
    idle : int
        GPUs that nothing is laid on.

    Notes
    -----
    ``lanes * workers * threads`` is at most the cluster's cores, so that lanes do not slow each
    other down; a lane takes the next fold when it has finished one.
    """

    device: Literal["cpu", "cuda"]
    lanes: int
    workers: int
    threads: int
    tasks: int
    idle: int = 0

    @property
    def rounds(self) -> int:
        """Folds that the busiest lane trains."""
        return math.ceil(self.tasks / self.lanes)

    @property
    def resources_per_worker(self) -> dict[str, float]:
        """What Ray is asked for."""
        return {"CPU": self.threads, **({"GPU": 1.0} if self.device == "cuda" else {})}

    def describe(self) -> str:
        """One line for people."""
        unit = "GPU" if self.device == "cuda" else "CPU worker"
        threads = f" of {_count(self.threads, 'core')}" if self.device == "cpu" else ""
        return (
            f"{_count(self.tasks, 'fold')} through {_count(self.lanes, 'lane')} of "
            f"{_count(self.workers, unit)}{threads}, at most {_count(self.rounds, 'fold')} a lane"
            + (f"; {_count(self.idle, 'GPU')} idle, see --workers-per-fold" if self.idle else "")
        )


def make_plan(
    resources: Resources,
    tasks: int,
    *,
    device: str = "auto",
    workers: int | str = "auto",
    lanes: int | str = "auto",
    batch_size: int | None = None,
) -> Plan:
    """Lay folds over a cluster.

    Parameters
    ----------
    resources : Resources
        What there is.
    tasks : int
        Folds times repeats, at least 1.
    device : str
        ``cpu``, ``cuda`` or ``auto`` (GPUs if there are any).
    workers, lanes : int or "auto"
        Wishes. By default a lane has one worker, because batch norm sees only its worker's part
        of a batch and the result would depend on the cluster; and there are as few lanes as
        finish in the same number of rounds as the most possible.
    batch_size : int, optional
        Global batch; a lane has no more workers than images in it.

    Raises
    ------
    UserError
        The cluster does not have what is asked for.
    """
    kind: Literal["cpu", "cuda"] = (
        "cuda" if device == "cuda" or (device == "auto" and resources.gpus) else "cpu"
    )
    units, name = (resources.gpus, "GPU") if kind == "cuda" else (resources.cpus, "core")
    if units < 1:
        raise UserError(f"--device {kind}: the cluster has no {name}; use --device cpu")
    wide = 1 if workers == "auto" else int(workers)
    many = _lanes(lanes, units // max(wide, 1), tasks)
    if wide * many > units:
        raise UserError(
            f"--workers-per-fold {wide} x --concurrent-folds {many}: needs {wide * many} "
            f"{name}s and the cluster has {units}; lower one of them"
        )
    if batch_size is not None and wide > batch_size:
        raise UserError(
            f"--workers-per-fold {wide}: more workers than the {batch_size} images of a batch; "
            "lower it or raise --batch-size"
        )
    if kind == "cuda":
        return Plan(kind, many, wide, 1, tasks, idle=units - wide * many)
    return Plan(kind, many, wide, _threads(resources, wide * many), tasks)


def _threads(resources: Resources, workers: int) -> int:
    """The most cores a worker may have so that all workers fit onto the nodes at once."""
    for threads in range(resources.cpus // workers, 1, -1):
        if sum(cores // threads for cores in resources.nodes) >= workers:
            return threads
    return 1


def _lanes(wish: int | str, most: int, tasks: int) -> int:
    if wish != "auto":
        return min(int(wish), tasks)
    rounds = math.ceil(tasks / max(1, min(most, tasks)))
    return math.ceil(tasks / rounds)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
