"""How crossfold would scale to 1024 devices: a simulation on its own planner and cost model.

Nothing here ran on more than one machine. Each device is planned like a GPU, eight to a node,
and works at the rates given; the built-in ones are of one CPU core.

Run: python -m benchmarks.scale_sim
It writes benchmarks/scaling.png and benchmarks/SCALING.md.
"""

import argparse
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

from benchmarks import driver_load, scale_report, scale_text
from benchmarks.scale_events import NODE, Weather, simulate
from benchmarks.scale_report import Point
from distributed.planning.cost import Work, epoch_seconds
from distributed.planning.plan import Plan, Resources, make_plan
from folds.config.stages import Stage
from folds.runtime.trial import Rates

HERE = Path(__file__).parent
IMAGES, TASKS, DEVICES = (2_000, 100_000), (5, 10, 25, 100), tuple(2**n for n in range(11))
CPU_WORKER = Rates(train=220.0, forward=1800.0, step_bytes=600_000_000, busy=1.0)
STAGES = (Stage(0.0, 3, 1e-3), Stage(1.0, 5, 5e-4))
FOLDS, BATCH_SIZE, SIDE = 5, 64, 96
WEATHERS = {
    "calm": Weather(sigma=0.1),
    "stragglers": Weather(sigma=0.3),
    "stragglers and losses": Weather(sigma=0.3, losses=0.1),
}
WORST = "stragglers and losses"


def work_of(images: int, tasks: int) -> Work:
    """Five folds of an image set, repeated until there are so many tasks."""
    held_out = images // FOLDS
    return Work(images, images - held_out, held_out, tasks, STAGES, True, images * SIDE**2 * 3)


def plan_of(devices: int, tasks: int, *, batch_norm: bool, lanes: int | str = "auto") -> Plan:
    """The plan for a cluster of nodes with eight devices and as many cores."""
    nodes = (NODE,) * (devices // NODE) + ((devices % NODE,) if devices % NODE else ())
    there = Resources(devices, devices, nodes, gpus_per_node=min(devices, NODE))
    return make_plan(there, tasks, lanes=lanes, batch_size=BATCH_SIZE, batch_norm=batch_norm)


def sweep(
    rates: Rates,
    images: Sequence[int],
    tasks: Sequence[int],
    devices: Sequence[int],
    weathers: Iterable[str] = WEATHERS,
    repetitions: int = 20,
) -> list[Point]:
    """Simulate all combinations; the seeds are the numbers of the repetitions."""
    points = []
    for size, count, norm, weather, number in product(
        images, tasks, (True, False), weathers, devices
    ):
        plan, work = plan_of(number, count, batch_norm=norm), work_of(size, count)
        runs = [simulate(plan, work, rates, WEATHERS[weather], s) for s in range(repetitions)]
        seconds = tuple(sorted(run.seconds for run in runs))
        given_up = sum(max(run.lost) > 2 for run in runs) / repetitions
        points.append(Point(size, count, number, norm, weather, seconds, given_up))
    return points


def lane_each(rates: Rates, images: int, repetitions: int) -> list[list[str]]:
    """Rows that compare as few lanes as need the same rounds with a lane for each device."""
    rows = []
    for tasks, devices in ((5, 4), (10, 8), (25, 16), (100, 32), (100, 64)):
        fewest = math.ceil(tasks / math.ceil(tasks / devices))
        plans = [
            plan_of(devices, tasks, batch_norm=True, lanes=lanes) for lanes in (fewest, "auto")
        ]
        row = [str(tasks), str(devices), str(plans[0].lanes)]
        for name in ("calm", "stragglers"):
            few, each = (
                statistics.median(
                    simulate(plan, work_of(images, tasks), rates, WEATHERS[name], seed).seconds
                    for seed in range(repetitions)
                )
                for plan in plans
            )
            row.append(f"{100 * (each / few - 1):+.0f} %")
        rows.append(row)
    return rows


def read_rates(path: Path) -> Rates:
    """Read measured rates from a JSON file with the fields of `Rates`."""
    return Rates(**json.loads(path.read_text(encoding="utf-8")))


def main() -> None:
    """Simulate everything, and write the picture and the text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=Path, help="JSON: train, forward, step_bytes, busy")
    parser.add_argument("--repetitions", type=int, default=20, help="runs of each setting")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of the two files")
    options = parser.parse_args()
    rates = read_rates(options.rates) if options.rates else CPU_WORKER
    points = sweep(rates, IMAGES, TASKS, DEVICES, repetitions=options.repetitions)
    scale_report.draw(points, WORST, options.output / "scaling.png")
    facts = scale_text.Facts(
        rates=rates,
        weather=WEATHERS[WORST],
        repetitions=options.repetitions,
        driver=driver_load.measure(),
        epochs={size: epoch_seconds(work_of(size, FOLDS), rates)[-1] for size in IMAGES},
        lane_each=lane_each(rates, IMAGES[-1], options.repetitions),
    )
    text = scale_text.write(points, WORST, facts)
    (options.output / "SCALING.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
