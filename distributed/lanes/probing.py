"""Where the probe runs: on a worker that will train, never in a driver that goes on.

On CPUs the first lane measures before it trains, see `distributed.lanes.lane`. What GPUs can do
decides how many lanes share one, so it is measured before there are lanes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import ray
import torch

from distributed.cluster import address_of
from distributed.planning.plan import Plan
from distributed.workspace import Workspace
from folds.errors import UserError
from folds.files import read_values, write_values
from folds.prepare import Prepared
from folds.runtime.device import Runtime
from folds.runtime.probe import probe, remembered
from folds.runtime.trial import Probed, Rates, Trial

_TRYING = "trying which precision and layout are fastest here (once for this machine)"


@dataclass(frozen=True)
class Settled:
    """How the folds are computed.

    Parameters
    ----------
    runtime : Runtime
        With `trial` what to begin with.
    rates : Rates, optional
        What a worker does in a second, if that is known.
    trial : Trial, optional
        What the first lane shall measure before it trains.
    """

    runtime: Runtime
    rates: Rates | None = None
    trial: Trial | None = None


def settle(
    prepared: Prepared,
    plan: Plan,
    space: Workspace,
    notify: Callable[[str], None],
    *,
    at_once: bool = False,
) -> Settled:
    """Choose precision, layout and compilation once for all folds, and keep the choice.

    A run that goes on keeps the choice it began with: its folds shall not differ.

    Parameters
    ----------
    notify : callable
        Tells the user one line.
    at_once : bool
        Measure now, wherever that is worth it, and leave nothing to the first lane.

    Raises
    ------
    UserError
        The device has not got what was asked for.
    """
    if space.runtime.exists():
        return Settled(settled_runtime(plan, space))
    trial = trial_of(prepared, plan)
    joined = address_of(prepared.problem.config.cluster.address) is not None
    if plan.device == "cuda":
        notify(_TRYING)
        probed = _on_a_worker(trial, plan)
        settled = Settled(probed.runtime, probed.rates)
    else:
        start = Runtime.choose("cpu", trial.precision)
        known = None if joined else remembered(trial, start)
        settled = Settled(start) if known is None else Settled(known.runtime, known.rates)
        if known is None and trial.worth(start):
            notify(_TRYING)
            if not at_once:
                return replace(settled, trial=trial)
            probed = _on_a_worker(trial, plan)
            settled = Settled(probed.runtime, probed.rates)
    write_values(space.runtime, settled.runtime.settings)
    return settled


def settled_runtime(plan: Plan, space: Workspace) -> Runtime:
    """How all folds of a run are computed, once that is settled."""
    return Runtime(torch.device(plan.device), **read_values(space.runtime))


def measure_rates(prepared: Prepared, plan: Plan) -> Rates:
    """Rates for ``--plan``: of a worker of the joined cluster, or of this process, which ends."""
    trial = trial_of(prepared, plan)
    if address_of(prepared.problem.config.cluster.address) is not None:
        return _on_a_worker(trial, plan).rates
    return probe(trial, Runtime.choose(plan.device, trial.precision)).rates


def trial_of(prepared: Prepared, plan: Plan) -> Trial:
    """What the probe shall try for a run."""
    problem = prepared.problem
    config = problem.config
    epochs = sum(stage.epochs for stage in problem.stages if stage.share > 0)
    train, _ = problem.splits.parts(*prepared.folds[0], problem.images.ids)
    return Trial(
        backbone=problem.backbone,
        classes=len(problem.images.class_names),
        size=problem.size,
        batch_size=-(-config.train.batch_size // plan.workers),
        frozen_norm=config.train.frozen_norm,
        precision=config.train.precision,
        compile=config.cluster.compile,
        threads=plan.threads,
        stages=sum(stage.share > 0 for stage in problem.stages),
        images=problem.balance(train).images * epochs * plan.rounds,
    )


def _on_a_worker(trial: Trial, plan: Plan) -> Probed:
    task = ray.remote(
        num_cpus=plan.threads,
        num_gpus=1 if plan.device == "cuda" else 0,
        max_calls=1,  # its process ends, and frees what the device held
    )(_probe)
    probed, refused = ray.get(task.remote(trial, plan.device))
    if refused is not None:
        raise UserError(refused)
    return probed


def _probe(trial: Trial, device: str) -> tuple[Probed | None, str | None]:
    try:
        return probe(trial, Runtime.choose(device, trial.precision)), None
    except UserError as error:  # Ray would wrap it into a traceback
        return None, str(error)
