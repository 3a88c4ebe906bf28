"""Starting a local Ray or joining a cluster, and what it has."""

import logging
import os
from pathlib import Path
from typing import Any

import torch

import distributed
import folds
from distributed.plan import Resources
from folds.errors import UserError

_ENV = {
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",  # how soon an ended worker is noticed
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS": "0",
}


def address_of(flag: str | None) -> str | None:
    """The cluster to join, or None for a local Ray."""
    return flag or os.environ.get("RAY_ADDRESS") or None


def local_resources() -> Resources:
    """What this machine has, without starting Ray."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Resources(cpus, torch.cuda.device_count(), cpus)


def start(address: str | None, resources: Resources, *, verbose: bool) -> None:
    """Start a local Ray, or join the cluster at an address.

    Raises
    ------
    UserError
        No cluster answers at the address.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in _ENV.items()})
    import ray

    options: dict[str, Any] = {
        "log_to_driver": verbose,
        "logging_level": logging.INFO if verbose else logging.ERROR,
        "configure_logging": True,
    }
    if address is None:
        ray.init(
            address="local", num_cpus=resources.cpus, num_gpus=resources.gpus,
            include_dashboard=False, **options,
        )  # fmt: skip
    else:
        packages = [str(Path(package.__file__ or "").parent) for package in (folds, distributed)]
        try:
            ray.init(
                address=address,
                runtime_env={"py_modules": packages, "env_vars": _ENV},
                **options,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:150]
            raise UserError(
                f"--address {address}: no Ray cluster answers ({reason}); start one with "
                "`ray up cluster.yaml` or leave the flag and RAY_ADDRESS out"
            ) from None
    if not verbose:
        for name in ("ray", "ray.train", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)


def cluster_resources() -> Resources:
    """What the joined cluster has, or may grow to when it scales itself."""
    import ray
    from ray._private.state import state

    now = ray.cluster_resources()
    most = state.get_max_resources_from_cluster_config() or {}
    nodes = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    cpus, gpus = (int(max(now.get(k, 0), most.get(k, 0))) for k in ("CPU", "GPU"))
    return Resources(cpus, gpus, int(min((n for n in nodes if n), default=1)))
