"""The main run: from a checked configuration to a registered model."""

import os
from dataclasses import replace

from mlflow.exceptions import MlflowException
from ray.exceptions import RayError
from rich.console import Console

from distributed import cluster
from distributed.lanes.probing import measure_rates, settle, settled_runtime
from distributed.lanes.recording import PERMANENT, patiently
from distributed.lanes.watch import train
from distributed.outcome.finish import finish, show
from distributed.outcome.partial import take_what_is_there
from distributed.planning.cost import Work
from distributed.planning.describe import print_plan
from distributed.planning.plan import FEW_STEPS, Plan, make_plan
from distributed.run import Run, Stopwatch, notify
from distributed.workspace import Workspace
from folds.config.corruptions import suite
from folds.errors import RunError, UserError, disk_full, reason
from folds.prepare import Prepared
from folds.runtime.trial import Rates
from folds.signals import Interruption
from folds.training.consistency import VIEWS
from folds.training.parts import at_once, check_parts
from folds.training.validate import shift_share
from tracking.recorder import Recorder

CLOSE_S = "10"  # an answer that is not there by then is not waited for


def plan_for(prepared: Prepared, rates: Rates | None = None, trials: int | None = None) -> Plan:
    """Plan for this machine, or for the cluster that Ray has joined.

    Parameters
    ----------
    rates : Rates, optional
        What a worker does in a second, if that is known.
    trials : int, optional
        Of a search: how many are under way at once, each of which trains a fold.

    Raises
    ------
    UserError
        It has not got what is asked for, or a fold cannot be trained on so many workers.
    """
    problem = prepared.problem
    config = problem.config
    joined = cluster.address_of(config.cluster.address) is not None
    resources = cluster.cluster_resources() if joined else cluster.local_resources()
    if rates is not None:
        resources = replace(resources, gpu_memory=rates.device_bytes)
    plan = make_plan(
        resources,
        trials or len(prepared.folds),
        device=config.cluster.device,
        workers=config.cluster.workers_per_fold,
        lanes=config.cluster.concurrent_folds,
        lanes_per_gpu=config.cluster.lanes_per_gpu,
        batch_size=at_once(config),
        batch_norm=prepared.batch_norm,
        rates=rates,
        image_bytes=problem.images.pixels.nbytes,
        steps=FEW_STEPS if trials else _work(prepared).steps(config.train.batch_size),
    )
    check_parts(problem, plan.workers)
    return plan


def show_plan(prepared: Prepared, console: Console) -> None:
    """Print how the folds would be laid over the machine, and what that is expected to cost."""
    plan = plan_for(prepared)
    rates = measure_rates(prepared, plan)
    names = prepared.names[: len(prepared.folds)]
    print_plan(console, plan_for(prepared, rates), names, _work(prepared), rates)


def _work(prepared: Prepared) -> Work:
    problem = prepared.problem
    train, held_out = problem.splits.parts(*prepared.folds[0], problem.images.ids)
    shift = problem.config.evaluation.shift
    corrupted = shift_share(shift, problem.stages) * len(held_out)
    optim = problem.config.optim
    return Work(
        images=len(problem.images),
        train_rows=problem.balance(train).images,
        held_out_rows=len(held_out),
        tasks=len(prepared.folds),
        stages=problem.stages,
        shift_views=round(corrupted) * len(suite(shift)),
        shared=problem.config.cluster.cache_budget != 0,
        image_bytes=problem.images.pixels.nbytes,
        passes=(VIEWS if optim.consistency else 1) * (2 if optim.sam else 1),
        curve=sum(prepared.curve),
    )


def execute(
    prepared: Prepared,
    plan: Plan,
    space: Workspace,
    recorder: Recorder,
    console: Console,
    stopwatch: Stopwatch,
) -> None:
    """Train all folds, record them, register the best, and tell what came out.

    Parameters
    ----------
    plan : Plan
        Before it is known what a worker does in a second.

    Raises
    ------
    RunError
        A fold or the tracker failed; what is finished is kept for ``--resume``. With
        ``--allow-partial`` failed folds are left out, unless all are.
    """
    status: str | None = "FAILED"
    again = recorder.store.again
    go_on = f"to go on: python -m distributed.cv --resume {space.name}{again}"
    Interruption.advice = go_on
    try:
        settled = settle(prepared, plan, space, lambda line: notify(console, line))
        plan = plan_for(prepared, settled.rates)
        begin = settled.runtime, space, recorder, console, stopwatch, settled.trial
        run = Run(prepared, plan, *begin)
        with stopwatch.phase("tracking"):
            _open(run)
        if failed := train(run):
            run = take_what_is_there(run, failed)
        run = replace(run, runtime=settled_runtime(plan, space), trial=None)
        with stopwatch.phase("finish"):
            summary = finish(run)
            patiently(lambda: recorder.close("FINISHED"), run.notify)
        status = None
    except UserError:
        status = None
        if not recorder.runs.parent:  # nothing has been begun, now or before
            space.remove()
        raise
    except KeyboardInterrupt:
        status = "KILLED"
        raise KeyboardInterrupt(go_on) from None
    except BrokenPipeError:
        status = "KILLED"
        raise BrokenPipeError(f"nobody reads the output any more; {go_on}") from None
    except (RunError, MlflowException, RayError, OSError) as error:
        if isinstance(error, MlflowException) and error.error_code in PERMANENT:
            go_on = f"what was trained is kept in {space.folder}"
        why = reason(error, most=1000)
        if disk_full(error):
            why = f"the disk is full ({why}); make room"
        raise RunError(f"{why}; {go_on}") from None
    finally:
        if status is not None:
            _close(recorder, console, status)
    space.remove()
    show(run, summary)


def _close(recorder: Recorder, console: Console, status: str) -> None:
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = CLOSE_S
    try:
        recorder.close(status)
    except Exception as error:  # the tracker went away at the very end
        if disk_full(error):  # which is told anyway
            return
        notify(console, f"the runs' status could not be written: {reason(error)}")


def _open(run: Run) -> None:
    prepared = run.prepared
    tags = {
        "crossfold.dataset": run.config.data.told,
        "crossfold.backbone": run.config.model.backbone,
        "crossfold.workers_per_fold": str(run.plan.workers),
        **{f"crossfold.{name}": value for name, value in prepared.digests.items()},
    }
    if prepared.notices:
        tags["crossfold.notices"] = "\n".join(prepared.notices)
    params = run.config.flat() | {
        "stages": [str(stage) for stage in prepared.problem.stages],
        "image_size": prepared.problem.size,
    }
    run.space.write_labels(prepared.problem.images.labels)
    run.recorder.open(run.config.tracking.experiment, run.space.name, params, tags)
