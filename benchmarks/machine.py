"""What a row was measured on: hardware and versions, as plain data for ``results.json``."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil
import torch

from benchmarks.measure import ROOT

PACKAGES = ("torch", "timm", "ray", "mlflow", "kornia")


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def kind() -> str:
    """``gpu`` where torch finds one, else ``cpu``: rows of the two are kept apart."""
    return "gpu" if torch.cuda.is_available() else "cpu"


def hardware() -> dict[str, str]:
    """CPU model, cores, memory and GPU, for people."""
    return {
        "CPU": _cpu_model(),
        "cores": str(cores()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def versions() -> dict[str, str]:
    """Versions of Python, the packages that do the work, and this checkout's commit."""
    packages = {name: version(name) for name in PACKAGES}
    return {"Python": platform.python_version(), **packages, "crossfold": _commit()}


def _cpu_model() -> str:
    with_model = Path("/proc/cpuinfo")
    if with_model.exists():
        for line in with_model.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    """Short commit of the checkout; ``+`` if its files were changed since."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return told.stdout.strip() or "unknown"
