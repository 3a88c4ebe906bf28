"""The words around the tables of SCALING.md."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import scale_report as report
from benchmarks.driver_load import BACKBONE, DriverCost
from benchmarks.scale_events import NODE, Weather
from benchmarks.scale_report import Point
from distributed.planning.cost import FINISH_S, RECORD_S, START_S, TEAM_EFFICIENCY
from folds.runtime.trial import Rates


@dataclass(frozen=True)
class Facts:
    """What the text tells beside the simulated points.

    Parameters
    ----------
    rates : Rates
        Of a device.
    weather : Weather
        The worst that was simulated.
    repetitions : int
        Runs of each setting.
    driver : DriverCost
        Measured calls.
    epochs : dict of int to float
        Seconds of a full epoch on one device, by number of images.
    lane_each : list of list of str
        Rows: folds, devices, the fewest lanes that need the same rounds, and how much a lane for
        each device changes the time without and with stragglers.
    """

    rates: Rates
    weather: Weather
    repetitions: int
    driver: DriverCost
    epochs: dict[int, float]
    lane_each: list[list[str]]


def write(points: Sequence[Point], weather: str, facts: Facts) -> str:
    """The whole of SCALING.md."""
    lanes = max(point.tasks for point in points)
    images = max(point.images for point in points)
    parts = [
        _HEAD.format(
            train=facts.rates.train, forward=facts.rates.forward, node=NODE, start=START_S,
            team=TEAM_EFFICIENCY, repetitions=facts.repetitions, losses=facts.weather.losses,
            restart=facts.weather.restart, sigma=facts.weather.sigma,
        ),
        report.times(points, weather),
        "Efficiency: speed-up over one device, divided by the number of devices.",
        report.efficiencies(points, weather),
        _ENDS.format(enough=100 * (report.ENOUGH - 1)),
        report.ends(points, weather),
        _WHY.format(start=START_S, finish=FINISH_S, record=RECORD_S, node=NODE, lanes=lanes),
        _WEATHER.format(lanes=lanes, images=images),
        report.weathers(points, images, lanes),
        _LANES.format(images=images),
        report.table(["folds", "devices", "fewest lanes", "calm", "stragglers"], facts.lane_each),
        _driver(facts, lanes),
        report.driver(facts.driver, facts.epochs, lanes),
        _driver_end(facts, lanes),
    ]  # fmt: skip
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _driver(facts: Facts, lanes: int) -> str:
    cost = facts.driver
    return _DRIVER.format(
        tell=report.spread(cost.tells), save=report.spread(cost.saves),
        megabytes=cost.checkpoint_bytes / 1e6, backbone=BACKBONE, lanes=lanes,
    )  # fmt: skip


def _driver_end(facts: Facts, lanes: int) -> str:
    cost, smallest = facts.driver, min(facts.epochs)
    most = 1 / cost.seconds
    return _DRIVER_END.format(
        most=most, lanes=lanes, images=smallest, seconds=lanes / most,
        times=facts.epochs[smallest] * most / lanes,
    )  # fmt: skip


_HEAD = """
# How it would scale

**A simulation, not a measurement.** Nothing here ran on more than one machine. The layouts come
from the planner that runs use (`distributed/planning/plan.py`), the durations from its cost model
(`distributed/planning/cost.py`), and an event-driven simulation lets folds flow through lanes.
Anew: `python -m benchmarks.scale_sim`, with `--rates FILE.json` for another device.

- A device trains {train:g} images/s and passes {forward:g} images/s forward. The built-in rates,
  220 and 1800, are of one CPU worker of the development machine (mobilenetv2_100, 96 px).
  Devices are planned like GPUs, {node} to a node.
- 5 folds are each trained for 3 frozen and 5 full epochs at batch 64; 10, 25 and 100 folds are
  repeats. All devices together compute the frozen epochs' features, once for all folds.
- A fold's slowdown is lognormal: median 1, sigma {sigma:g} of its logarithm. A node is lost
  {losses:g} times an hour; its lanes go on from the last epoch's checkpoint {restart:g} s later.
- Start-up is {start:g} s whatever the number of devices, and W workers of a fold are {team:g} W
  times as fast as one: both are assumptions for a large cluster. Bringing the images to the
  nodes, early stopping and losses before the first epoch are left out.
- {repetitions} runs of each setting with fixed seeds: median (least to most).

![time and efficiency against devices](scaling.png)

## Time
"""

_ENDS = """
## Where it stops

The fewest devices that are within {enough:.0f} % of the fastest.
"""

_WHY = """
Three things stop it.

- **Folds.** With batch norm a fold has one worker, because its result would otherwise depend on
  the cluster. No more devices than folds can train; the others help with the shared frozen
  features only. Short of that, whole rounds count: 25 folds take two rounds on 13 devices and on
  24. Without batch norm a fold spreads over up to {node} devices of a node, and scaling goes on
  until there are {node} devices for each fold.
- **What is not divided.** {start:g} s to start, {finish:g} s to finish, and {record:g} s to record
  each fold, one after the other: {lanes} folds that end together wait {lanes} x {record:g} s for
  the tracker. On small image sets this is most of the time (last column).
- **The slowest fold.** In the last round everybody waits for it.
"""

_WEATHER = """
## What goes wrong

{lanes} folds of {images:,} images, with batch norm; median. *Calm* is sigma 0.1 and no losses. A
run is given up, and waits for `--resume`, when a fold loses its workers more than twice
(`--max-failures 2`).
"""

_LANES = """
## Why there is a lane for each device

Fewer lanes would often need the same number of rounds. That is free when all folds take equally
long, and they do not: a device without a lane cannot take over. Change of the median time by a lane
for each device, instead of the fewest lanes, {images:,} images, batch norm:
"""

_DRIVER = """
## The driver

Each epoch of each lane is one `Ledger.tell` and one `Ledger.save_checkpoint`, handled one at a
time on the driver's machine. As plain method calls on an empty folder, without Ray, on a shared
machine of two cores, they took {tell} and
{save} (median, least to most) for a checkpoint of {megabytes:.0f} MB ({backbone}:
weights, AdamW's moments, best weights). With {lanes} lanes in their full epochs, on devices as fast
as above, ten times, and a hundred times:
"""

_DRIVER_END = """
Above 100 % the Ledger falls behind, and checkpoints wait in the object store. It can take
{most:.0f} epochs/s: {lanes} lanes reach that when an epoch takes {seconds:.1f} s, which is on
{images:,} images with devices {times:.1f} times as fast as these. `--checkpoint-every N` divides
both columns by N. A network of 10 Gbit/s into the driver is full at 1,250 MB/s, not counting what
Ray itself copies.
"""
