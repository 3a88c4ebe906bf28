"""The main run: from a checked configuration to a registered model."""

from mlflow.exceptions import MlflowException
from ray.exceptions import RayError

from distributed import cluster
from distributed.finish import finish
from distributed.plan import Plan, make_plan
from distributed.run import Run
from distributed.summary import Summary
from distributed.training import train
from folds.config import Config
from folds.errors import RunError, UserError


def plan_for(config: Config, tasks: int) -> Plan:
    """Plan for this machine, or for the cluster that Ray has joined."""
    joined = cluster.address_of(config.cluster.address) is not None
    resources = cluster.cluster_resources() if joined else cluster.local_resources()
    return make_plan(
        resources,
        tasks,
        device=config.cluster.device,
        workers=config.cluster.workers_per_fold,
        lanes=config.cluster.concurrent_folds,
        lanes_per_gpu=config.cluster.lanes_per_gpu,
        batch_size=config.train.batch_size,
    )


def execute(run: Run) -> Summary:
    """Train all folds, record them, register the best.

    Returns
    -------
    Summary

    Raises
    ------
    RunError
        A fold or the tracker failed; what is finished is kept for ``--resume``.
    """
    status: str | None = "FAILED"
    try:
        with run.phase("tracking"):
            _open(run)
        train(run)
        with run.phase("finish"):
            summary = finish(run)
        run.recorder.close("FINISHED")
        status = None
    except UserError:  # nothing has been begun
        status = None
        raise
    except KeyboardInterrupt:
        status = "KILLED"
        raise KeyboardInterrupt(_go_on(run)) from None
    except (RunError, MlflowException, RayError, OSError) as error:
        raise RunError(f"{' '.join(str(error).split())}; {_go_on(run)}") from None
    finally:
        if status is not None:
            _close(run, status)
    run.space.remove()
    return summary


def _go_on(run: Run) -> str:
    return f"to go on: python -m distributed.cv --resume {run.space.name}"


def _close(run: Run, status: str) -> None:
    try:
        run.recorder.close(status)
    except Exception as error:  # the tracker went away at the very end
        run.notify(f"the runs' status could not be written: {str(error)[:120]}")


def _open(run: Run) -> None:
    prepared = run.prepared
    tags = {
        "crossfold.data": run.config.data.data,
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
    run.recorder.open(run.config.tracking.experiment, run.space.name, params, tags)
