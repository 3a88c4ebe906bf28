"""An event-driven simulation of one run: folds that flow through lanes, stragglers, lost nodes.

The layout comes from `distributed.planning.plan` and every duration from
`distributed.planning.cost`; here only time passes. Without stragglers and losses it ends when
`distributed.planning.cost.estimate` says.
"""

import heapq
from dataclasses import dataclass, field

import numpy as np

from distributed.planning.cost import (
    FINISH_S,
    FOLD_S,
    RECORD_S,
    START_S,
    Work,
    epoch_seconds,
    lane_speed,
    shared_seconds,
)
from distributed.planning.plan import Plan
from folds.runtime.trial import Rates

NODE = 8  # devices of a node


@dataclass(frozen=True)
class Weather:
    """What goes wrong.

    Parameters
    ----------
    sigma : float
        Of the natural logarithm of a fold's slowdown; the median fold is not slowed.
    losses : float
        Of a node, per hour.
    restart : float
        Seconds until the workers of a lost node train again, on the node that replaces it.
    """

    sigma: float = 0.0
    losses: float = 0.0
    restart: float = 180.0


@dataclass(frozen=True)
class Outcome:
    """How a run went.

    Parameters
    ----------
    seconds : float
        From the command to its end.
    lost : tuple of int
        Times that each fold lost its workers.
    """

    seconds: float
    lost: tuple[int, ...]


@dataclass
class _Lane:
    """A lane at its fold; a scheduled end of an epoch counts only if its `version` is this one."""

    nodes: range
    task: int = -1
    epoch: int = 0
    version: int = 0


@dataclass(order=True, frozen=True)
class _Event:
    """The end of a lane's epoch, or (version -1) the loss of a node."""

    time: float
    number: int
    version: int = -1


@dataclass
class _Run:
    """The state of a run while time passes."""

    plan: Plan
    work: Work
    rates: Rates
    weather: Weather
    random: np.random.Generator
    events: list[_Event] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        plan, sigma = self.plan, self.weather.sigma
        self.slowdown = self.random.lognormal(0, sigma, plan.tasks)
        self.slowest_device = self.random.lognormal(0, sigma, plan.devices).max()
        self.epochs = epoch_seconds(self.work, self.rates)
        self.lost = [0] * plan.tasks
        self.waiting = list(range(plan.tasks))[::-1]
        self.lanes = [_Lane(_nodes(plan, lane)) for lane in range(plan.lanes)]

    def simulate(self) -> Outcome:
        """Let time pass until every fold is trained and recorded."""
        start = START_S
        start += shared_seconds(self.plan, self.work, self.rates) * self.slowest_device
        for lane in range(len(self.lanes)):
            self._claim(lane, start)
        for node in range(self.lanes[-1].nodes[-1] + 1):
            self._expect_loss(node, start)
        while len(self.ended) < self.plan.tasks:
            event = heapq.heappop(self.events)
            if event.version < 0:
                self._lose(event.number, event.time)
            elif event.version == self.lanes[event.number].version:
                self._end_epoch(event.number, event.time)
        recorded = start
        for time in self.ended:  # one at a time, in the order in which they came
            recorded = max(recorded, time) + RECORD_S
        return Outcome(float(recorded + FINISH_S), tuple(self.lost))

    def _claim(self, number: int, now: float) -> None:
        """Give a lane its next fold, if there is one."""
        lane = self.lanes[number]
        lane.task, lane.epoch = (self.waiting.pop(), 0) if self.waiting else (-1, 0)
        if lane.task >= 0:
            self._start_epoch(number, now + FOLD_S)

    def _start_epoch(self, number: int, now: float) -> None:
        lane = self.lanes[number]
        alone = self.epochs[lane.epoch] * self.slowdown[lane.task]
        end = now + alone / lane_speed(self.plan, lane.task, self.rates)
        heapq.heappush(self.events, _Event(end, number, lane.version))

    def _end_epoch(self, number: int, now: float) -> None:
        lane = self.lanes[number]
        lane.epoch += 1
        if lane.epoch < len(self.epochs):
            self._start_epoch(number, now)
        else:
            self.ended.append(now)
            self._claim(number, now)

    def _expect_loss(self, node: int, now: float) -> None:
        if self.weather.losses:
            wait = self.random.exponential(3600 / self.weather.losses)
            heapq.heappush(self.events, _Event(now + wait, node))

    def _lose(self, node: int, now: float) -> None:
        """All lanes on a node go back to their last checkpoint, which is of the last epoch."""
        for number, lane in enumerate(self.lanes):
            if node in lane.nodes and lane.task >= 0:
                lane.version += 1
                self.lost[lane.task] += 1
                self._start_epoch(number, now + self.weather.restart)
        self._expect_loss(node, now)


def _nodes(plan: Plan, lane: int) -> range:
    """Nodes on which a lane has workers, when devices are filled in order."""
    first = lane * plan.workers // plan.lanes_per_gpu
    return range(first // NODE, (first + plan.workers - 1) // NODE + 1)


def simulate(plan: Plan, work: Work, rates: Rates, weather: Weather, seed: int) -> Outcome:
    """Simulate one run.

    Notes
    -----
    The slowdown of a fold depends on seed and fold, not on the plan, so that plans are compared
    under the same weather.
    """
    return _Run(plan, work, rates, weather, np.random.default_rng(seed)).simulate()
