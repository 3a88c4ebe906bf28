"""What one machine of a cluster says about itself; needs nothing but Python until it is asked to.

Notes
-----
The checks that judge it are `distributed.health.checks`.
"""

import csv
import hashlib
import importlib
import importlib.util
import platform
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from pathlib import Path

import distributed
import folds
import tracking
from folds.errors import reason

PACKAGES = ("ray", "torch", "timm", "kornia", "mlflow")
SHM = Path("/dev/shm")
_WORK = "distributed.lanes.lane"  # what trains a fold, and all that it needs
_NEEDED = ("numpy", "ray", "sklearn", "timm", "torch", "kornia", _WORK)
_GPU_S = 20.0


@dataclass(frozen=True)
class Gpu:
    """A GPU as its driver names it."""

    name: str
    driver: str


@dataclass(frozen=True)
class NodeFacts:
    """What a machine says.

    Parameters
    ----------
    host : str
        Its name.
    resolves : str
        The address that the machine itself finds for its name; empty: none.
    versions : mapping of str to str
        Of Python, the packages and crossfold; empty: not installed.
    missing : tuple of str
        Modules that a worker needs and that cannot be imported there, with the reason.
    gpus : tuple of Gpu, optional
        None where no NVIDIA driver answers.
    cuda : bool, optional
        Whether PyTorch there is made for GPUs; None: nobody has asked.
    shm : int, optional
        Bytes of /dev/shm; None: there is none.
    files : int
        Files that a worker may have open.
    disk_free, disk_total : int
        Bytes of the disk with Ray's folder.
    """

    host: str
    resolves: str
    versions: Mapping[str, str]
    missing: tuple[str, ...] = ()
    gpus: tuple[Gpu, ...] | None = None
    cuda: bool | None = None
    shm: int | None = None
    files: int = 0
    disk_free: int = 0
    disk_total: int = 1


class Probe:
    """Sits on a machine and answers; an actor."""

    def facts(self, within: str, *, thorough: bool) -> NodeFacts:
        """Look at this machine.

        Parameters
        ----------
        within : str
            A file of Ray's on this machine.
        thorough : bool
            Import what a worker imports, which takes seconds, instead of looking for it, and ask
            for GPUs.
        """
        disk = shutil.disk_usage(next(path for path in Path(within).parents if path.exists()))
        return NodeFacts(
            host=socket.gethostname(),
            resolves=_resolved(socket.gethostname()),
            versions=versions(),
            missing=_not_imported() if thorough else _not_found(),
            gpus=_gpus() if thorough else None,
            cuda=_built_for_gpus() if thorough else None,
            shm=shutil.disk_usage(SHM).total if SHM.is_dir() else None,
            files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            disk_free=disk.free,
            disk_total=disk.total,
        )

    def clock(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def free_port(self) -> int:
        """A port that nobody listens on."""
        with socket.socket() as free:
            free.bind(("", 0))
            return int(free.getsockname()[1])

    def add_up(self, rank: int, place: str, backend: str, seconds: float) -> str:
        """Sum a number over two machines, as the workers of a fold sum gradients.

        Parameters
        ----------
        rank : int
            0 or 1.
        place : str
            HOST:PORT of rank 0.
        backend : {"gloo", "nccl"}
        seconds : float
            Until it is given up.

        Returns
        -------
        str
            Why it failed; empty where it did not.
        """
        import torch
        import torch.distributed as dist

        device = "cuda" if backend == "nccl" else "cpu"
        try:
            dist.init_process_group(
                backend, init_method=f"tcp://{place}", rank=rank, world_size=2,
                timeout=timedelta(seconds=seconds),
            )  # fmt: skip
            total = torch.ones(1, device=device)
            dist.all_reduce(total)
            return "" if total.item() == 2 else f"1 + 1 is {total.item()}"
        except Exception as error:  # RuntimeError, DistBackendError, and what sockets raise
            return f"{type(error).__name__}: {reason(error)}"
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()


def versions() -> dict[str, str]:
    """Of Python, the packages and crossfold, whose own has a digest of its code behind it."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found | {"crossfold": f"{folds.__version__} ({_digest()})"}


def code() -> list[Path]:
    """The folders of crossfold's packages, which Ray brings to every machine."""
    return [Path(package.__file__ or "").parent for package in (folds, tracking, distributed)]


def _digest() -> str:
    found = hashlib.sha256()
    for folder in code():
        for path in sorted(folder.rglob("*.py")):
            found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return found.hexdigest()[:8]


def _resolved(name: str) -> str:
    try:
        return socket.gethostbyname(name)
    except OSError:
        return ""


def _not_found() -> tuple[str, ...]:
    return tuple(name for name in _NEEDED if not _there(name))


def _there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:  # of what it lies in
        return False


def _not_imported() -> tuple[str, ...]:
    try:
        importlib.import_module(_WORK)
    except Exception as error:  # whatever a broken package raises
        return (f"{_WORK} ({type(error).__name__}: {reason(error)})",)
    return ()


def _gpus() -> tuple[Gpu, ...] | None:
    try:
        said = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=_GPU_S, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    rows = csv.reader(said.splitlines(), skipinitialspace=True)
    return tuple(Gpu(row[0], row[1]) for row in rows if len(row) == 2)


def _built_for_gpus() -> bool | None:
    try:
        import torch
    except ImportError:
        return None
    return torch.version.cuda is not None
