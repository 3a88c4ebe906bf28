"""How folds are laid over a cluster: a pure function of resources and wishes."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from folds.errors import UserError

if TYPE_CHECKING:
    from folds.runtime.trial import Rates

Device = Literal["cpu", "cuda"]
_UNIT = {"cpu": "core", "cuda": "GPU"}
FEW_STEPS = 50  # that are sooner done than further lanes' processes have started
GPU_FILL = 0.8  # share of a GPU's memory that lanes may plan with; the rest is the allocator's


@dataclass(frozen=True)
class Resources:
    """What a cluster has, now or at most.

    Parameters
    ----------
    cpus, gpus : int
        Of all nodes together.
    nodes : tuple of int
        Cores of each node.
    gpu_memory : int
        Bytes of one GPU; 0: not known.
    gpus_per_node : int
        Of the node with the most GPUs; 0: not known.
    """

    cpus: int
    gpus: int
    nodes: tuple[int, ...]
    gpu_memory: int = 0
    gpus_per_node: int = 0


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
    lanes_per_gpu : int
        Lanes that share a GPU; above 1 only where a lane has one worker.
    cores : int
        Cores of the one node on which all CPU workers are; 0 with GPUs or several nodes.

    Notes
    -----
    ``lanes * workers * threads`` is at most the cluster's cores, so that lanes do not slow each
    other down; a lane takes the next fold when it has finished one.
    """

    device: Device
    lanes: int
    workers: int
    threads: int
    tasks: int
    idle: int = 0
    lanes_per_gpu: int = 1
    cores: int = 0

    @property
    def rounds(self) -> int:
        """Folds that the busiest lane trains."""
        return math.ceil(self.tasks / self.lanes)

    @property
    def last_round(self) -> int:
        """Folds of the last round, from 1 to `lanes`."""
        return self.tasks - (self.rounds - 1) * self.lanes

    @property
    def devices(self) -> int:
        """GPUs of the cluster, or CPU workers."""
        return math.ceil(self.lanes * self.workers / self.lanes_per_gpu) + self.idle

    @property
    def resources_per_worker(self) -> dict[str, float]:
        """What Ray is asked for; it counts in ten-thousandths, so a share is rounded down."""
        share = math.floor(1e4 / self.lanes_per_gpu) / 1e4
        return {"CPU": self.threads, **({"GPU": share} if self.device == "cuda" else {})}

    def threads_of(self, task: int) -> int:
        """Cores of each worker of a fold.

        Parameters
        ----------
        task : int
            Place of the fold, from 0, in the order in which folds are handed out; what comes after
            all of them has the node to itself.

        Notes
        -----
        On one node the folds of an incomplete last round share the cores that would lie idle;
        the fold's workers together never have more than the node.
        """
        if task >= self.tasks and self.cores:
            return self.cores // self.workers
        place = task - (self.tasks - self.last_round)
        if place < 0 or self.last_round == self.lanes or not self.cores:
            return self.threads
        threads, left = divmod(self.cores // self.workers, self.last_round)
        return threads + (place < left)

    def describe(self) -> str:
        """One line for people."""
        return (
            f"{count(self.tasks, 'fold')} through {count(self.lanes, 'lane')} of "
            f"{self.describe_lane()}, at most {count(self.rounds, 'fold')} a lane"
            + (f"; {count(self.idle, 'GPU')} idle, see --workers-per-fold" if self.idle else "")
        )

    def describe_trials(self, trials: int) -> str:
        """One line for people about trials of a search, each of which trains a fold at a time."""
        at_once = min(self.lanes, trials)
        return f"{count(trials, 'trial')}, {at_once} at a time, each on {self.describe_lane()}"

    def describe_lane(self) -> str:
        """What a lane consists of, in a few words."""
        if self.device == "cpu":
            return f"{count(self.workers, 'CPU worker')} of {count(self.threads, 'core')}"
        return (
            f"1/{self.lanes_per_gpu} GPU" if self.lanes_per_gpu > 1 else count(self.workers, "GPU")
        )


def make_plan(
    resources: Resources,
    tasks: int,
    *,
    device: str = "auto",
    workers: int | str = "auto",
    lanes: int | str = "auto",
    lanes_per_gpu: int | str = "auto",
    batch_size: int | None = None,
    batch_norm: bool = True,
    rates: "Rates | None" = None,
    image_bytes: int = 0,
    steps: int = FEW_STEPS,
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
        Wishes. By default there are as many lanes as the cluster has room for, since folds take
        unequal times, but half as many on CPUs that have little to do (`steps`); and a lane has
        one worker, without batch norm as many GPUs as there are for each fold.
    lanes_per_gpu : int or "auto"
        Wish. By default 1, unless `rates` say that a lane leaves its GPU waiting, that the
        memory suffices, and that sharing ends sooner.
    batch_size : int, optional
        Images of a batch that a lane computes at once; by itself it has no more workers.
    batch_norm : bool
        Whether layers see only their worker's part of a batch, so that the number of workers
        changes results and the cluster must not choose it.
    rates : Rates, optional
        Measured speed and memory of one worker.
    image_bytes : int
        Bytes of all images, of which each worker keeps a copy on its GPU.
    steps : int
        Of training, of all folds together.

    Raises
    ------
    UserError
        The cluster does not have what is asked for.
    """
    kind: Device = "cuda" if device == "cuda" or (device == "auto" and resources.gpus) else "cpu"
    units = resources.gpus if kind == "cuda" else resources.cpus
    if units < 1:
        raise UserError(f"--device {kind}: the cluster has no {_UNIT[kind]}; use --device cpu")
    at_once = tasks if lanes == "auto" else min(int(lanes), tasks)
    wide = 1 if workers == "auto" else int(workers)
    share = 1 if lanes_per_gpu == "auto" else int(lanes_per_gpu)
    if workers == "auto" and kind == "cuda" and not batch_norm and share == 1:
        wide = _spread(resources, at_once, batch_size or at_once * units)
    _check_sharing(kind, wide, share)
    if lanes_per_gpu == "auto" and kind == "cuda" and wide == 1 and rates is not None:
        share = _share(resources, at_once, tasks, rates, image_bytes)
    room = units * share // max(wide, 1)
    # a lane's processes import for some 10 s of a core
    few = kind == "cpu" and steps < FEW_STEPS
    many = _lanes(lanes, room // 2 if few else room, tasks)
    used = math.ceil(wide * many / share)
    _check_fits(kind, wide, many, used, units)
    if kind == "cuda":
        return Plan(kind, many, wide, 1, tasks, idle=units - used, lanes_per_gpu=share)
    cores = resources.nodes[0] if len(resources.nodes) == 1 else 0
    return Plan(kind, many, wide, _threads(resources, wide * many), tasks, cores=cores)


def _check_sharing(kind: Device, workers: int, lanes_per_gpu: int) -> None:
    if lanes_per_gpu > 1 and kind == "cpu":
        raise UserError(
            f"--lanes-per-gpu {lanes_per_gpu}: the folds run on CPU cores; leave it out"
        )
    if lanes_per_gpu > 1 and workers > 1:
        raise UserError(
            f"--lanes-per-gpu {lanes_per_gpu} with --workers-per-fold {workers}: NCCL refuses two "
            "workers of a fold on one GPU; set one of them to 1"
        )


def _check_fits(kind: Device, workers: int, lanes: int, used: int, units: int) -> None:
    if used > units:
        other = ", or raise --lanes-per-gpu" if kind == "cuda" and workers == 1 else ""
        raise UserError(
            f"--workers-per-fold {workers} x --concurrent-folds {lanes}: needs {used} "
            f"{_UNIT[kind]}s and the cluster has {units}; lower one of them{other}"
        )


def _spread(resources: Resources, at_once: int, batch_size: int) -> int:
    """The most GPUs a fold may have so that each fold stays on one node, when all train at once."""
    node = resources.gpus_per_node or resources.gpus
    for width in range(min(resources.gpus // at_once, node, batch_size), 1, -1):
        if resources.gpus // node * (node // width) >= at_once:
            return width
    return 1


def _share(resources: Resources, at_once: int, tasks: int, rates: "Rates", images: int) -> int:
    """The fewest lanes on a GPU with which all folds end soonest.

    n lanes keep a GPU busy n times as long as one; beyond its whole time they slow each other
    down. More than 1 / busy of them gain nothing but fewer rounds.
    """
    memory = int(GPU_FILL * resources.gpu_memory / max(1, rates.step_bytes + images))
    most = min(math.ceil(1 / rates.busy), memory, math.ceil(at_once / resources.gpus))

    def duration(share: int) -> float:
        rounds = math.ceil(tasks / min(at_once, resources.gpus * share))
        return rounds * max(1.0, share * rates.busy)

    return min(range(1, max(1, most) + 1), key=duration)


def _threads(resources: Resources, workers: int) -> int:
    """The most cores a worker may have so that all workers fit onto the nodes at once."""
    for threads in range(resources.cpus // workers, 1, -1):
        if sum(cores // threads for cores in resources.nodes) >= workers:
            return threads
    return 1


def _lanes(wish: int | str, most: int, tasks: int) -> int:
    return min(max(1, most) if wish == "auto" else int(wish), tasks)


def count(number: int, what: str) -> str:
    """A number and its noun, such as ``2 lanes``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
