"""Asking all machines of the cluster that Ray has joined, each by an actor of its own there."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distributed.health.node import NodeFacts, Probe

_CLOCK_ROUNDS = 5
_LINK_S, _LINK_PATIENCE_S = 10.0, 90.0  # gloo tries several times


@dataclass(frozen=True)
class Clock:
    """How far a machine's clock is ahead of this one's.

    Parameters
    ----------
    ahead, give_or_take : float
        Seconds; what the way there and back leaves unknown.
    """

    ahead: float
    give_or_take: float


@dataclass(frozen=True)
class Node:
    """A machine as Ray and it itself describe it.

    Parameters
    ----------
    address : str
        By which Ray reaches it.
    resources : mapping
        What Ray hands out of it.
    facts : NodeFacts, optional
        None: it did not answer.
    clock : Clock, optional
    """

    address: str
    resources: Mapping[str, float]
    facts: NodeFacts | None = None
    clock: Clock | None = None

    @property
    def name(self) -> str:
        """For people."""
        return self.address if self.facts is None else f"{self.facts.host} ({self.address})"

    @property
    def gpus(self) -> float:
        """As many as Ray hands out."""
        return self.resources.get("GPU", 0)


@dataclass(frozen=True)
class Link:
    """Whether two machines' workers can talk; `trouble` is empty where they can."""

    first: str
    second: str
    backend: str
    trouble: str


def alive() -> list[dict[str, Any]]:
    """Ray's own list of the machines that are there, this one's first."""
    here = ray.get_runtime_context().get_node_id()
    nodes = [node for node in ray.nodes() if node["Alive"]]
    return sorted(nodes, key=lambda node: node["NodeID"] != here)


def ask(nodes: Sequence[dict[str, Any]], *, thorough: bool, patience: float) -> list[Node]:
    """Have the machines look at themselves, all at once.

    Parameters
    ----------
    nodes : sequence of dict
        Of `alive`.
    thorough : bool
        See `distributed.health.node.Probe.facts`.
    patience : float
        Seconds after which a machine counts as silent.
    """
    with _probes(nodes) as probes:
        facts = [
            probe.facts.remote(node["ObjectStoreSocketName"], thorough=thorough)
            for node, probe in zip(nodes, probes, strict=True)
        ]
        ray.wait(facts, num_returns=len(facts), timeout=patience)
        answers = [_answer(one) for one in facts]
        return [
            Node(
                node["NodeManagerAddress"], node["Resources"], answer,
                None if answer is None else _clock(probe),
            )
            for node, probe, answer in zip(nodes, probes, answers, strict=True)
        ]  # fmt: skip


def links(nodes: Sequence[dict[str, Any]], backend: str) -> list[Link]:
    """Try each machine with the next, and the last of several with the first.

    Parameters
    ----------
    nodes : sequence of dict
        Two or more of `alive`.
    backend : {"gloo", "nccl"}
        Of torch.distributed; NCCL takes a little of a GPU of each.
    """
    pairs = list(pairwise(nodes)) + ([(nodes[-1], nodes[0])] if len(nodes) > 2 else [])
    return [_link(first, second, backend) for first, second in pairs]


def _link(first: dict[str, Any], second: dict[str, Any], backend: str) -> Link:
    gpus = 0.01 if backend == "nccl" else 0
    with _probes([first, second], gpus) as probes:
        address = first["NodeManagerAddress"]
        port = _answer(probes[0].free_port.remote(), _LINK_S)
        said: list[str | None] = ["it does not answer"]
        if port is not None:
            place = f"{address}:{port}"
            asked = [
                probe.add_up.remote(rank, place, backend, _LINK_S)
                for rank, probe in enumerate(probes)
            ]
            ray.wait(asked, num_returns=2, timeout=_LINK_PATIENCE_S)
            said = [_answer(one) for one in asked]
    trouble = next(("no answer" if one is None else one for one in said if one != ""), "")
    return Link(address, second["NodeManagerAddress"], backend, trouble)


@contextlib.contextmanager
def _probes(nodes: Sequence[dict[str, Any]], gpus: float = 0) -> Iterator[list[Any]]:
    actor = ray.remote(Probe)
    probes = [
        actor.options(
            num_cpus=0, num_gpus=gpus, max_restarts=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        ).remote()
        for node in nodes
    ]  # fmt: skip
    try:
        yield probes
    finally:
        for probe in probes:
            ray.kill(probe)


def _answer(coming: Any, patience: float = 0) -> Any:
    """What has come; None where nothing has, or the machine is gone."""
    try:
        return ray.get(coming, timeout=patience)
    except (RayError, TimeoutError):
        return None


def _clock(probe: Any) -> Clock | None:
    """Compare clocks, and believe the quickest of some answers."""
    found = []
    for _ in range(_CLOCK_ROUNDS):
        before = time.time()
        there = _answer(probe.clock.remote(), 5.0)
        after = time.time()
        if there is not None:
            found.append(Clock(there - (before + after) / 2, (after - before) / 2))
    return min(found, key=lambda one: one.give_or_take, default=None)
