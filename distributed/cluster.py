"""Starting a local Ray or joining a cluster, and what it has."""

import logging
import os
import secrets
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

import torch
import yaml

import distributed
import folds
import tracking
from distributed import ray_habits
from distributed.planning.plan import Resources
from folds.errors import RunError, UserError, reason

LANE_THREAD = "lane-"  # beginning of the names of threads that wait inside Ray
SILENCE = "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"  # after how long a process counts as hung
_END_S = 30.0
# Of a folder in bytes: a socket's name has at most 107, and Ray adds ray/session_ (with date,
# microseconds and process id) and sockets/plasma_store.
_LONGEST = 36
_ENV = {
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",  # how soon a lost worker is noticed
    SILENCE: "120",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a process a lane; checkpoints are enough
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    # With one arena a worker keeps all memory it frees, see `folds.runtime.cpu.keep_memory`; arenas
    # of other threads, such as the one Ray Train runs a lane in, return blocks above 64 MB.
    "MALLOC_ARENA_MAX": "1",
}


def address_of(flag: str | None) -> str | None:
    """The cluster to join, or None for a local Ray."""
    return flag or os.environ.get("RAY_ADDRESS") or None


def set_environment(address: str | None) -> list[str]:
    """Set the variables that Ray reads when it is first imported.

    A cluster that `ray start` began asks for a token if its machine had one; a driver that joins
    it must be told to send it.

    Returns
    -------
    list of str
        Notices, where files cannot be kept where TMPDIR or HOME say.

    Raises
    ------
    UserError
        There is nowhere to keep them.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in _ENV.items()})
    token = Path("~/.ray/auth_token").expanduser()
    given = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ)
    if address is not None and (given or token.exists()):
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    told = [_shorten() if address is None else None, _do_without_home()]
    return [notice for notice in told if notice is not None]


def _do_without_home() -> str | None:
    """Spare Ray and matplotlib a folder in which they cannot write."""
    home = Path.home()
    if os.access(home, os.W_OK):
        return None
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    cache = Path(tempfile.gettempdir()) / f"matplotlib-{os.getuid()}"
    os.environ.setdefault("MPLCONFIGDIR", str(cache))
    return f"HOME {home} cannot be written to: nothing is kept there for later runs"


def _shorten() -> str | None:
    """Give a local Ray a folder in which its sockets' names are not too long for the system."""
    given = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(os.fsencode(given)) <= _LONGEST:
        return None
    variable = "RAY_TMPDIR" if os.environ.get("RAY_TMPDIR") else "TMPDIR"
    short = next((one for one in ("/tmp", "/var/tmp", "/dev/shm") if os.access(one, os.W_OK)), None)
    if short is None:
        raise UserError(
            f"{variable} {given}: too long for the names of Ray's sockets; set RAY_TMPDIR to a "
            f"folder of at most {_LONGEST} letters"
        )
    os.environ["RAY_TMPDIR"] = short
    return f"{variable} {given} is too long for the names of Ray's sockets: they are in {short}/ray"


def local_resources() -> Resources:
    """What this machine has, without starting Ray."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Resources(cpus, torch.cuda.device_count(), (cpus,))


def start(address: str | None, resources: Resources, *, verbose: bool) -> None:
    """Start a local Ray, or join the cluster at an address, unless that has been done.

    Raises
    ------
    UserError
        No cluster answers at the address.
    RunError
        The local Ray does not start.
    """
    address = _check_answers(address)
    import ray

    if ray.is_initialized():
        return
    ray_habits.hide_command_line()
    if not verbose:
        ray_habits.hide_losses()
    options: dict[str, Any] = {
        "log_to_driver": verbose,
        "logging_level": logging.INFO if verbose else logging.ERROR,
        "configure_logging": True,
    }
    if address is None:
        ray_habits.spawn_without_fork()
        try:
            with ray_habits.own_sigterm():
                ray.init(
                    address="local", num_cpus=resources.cpus, num_gpus=resources.gpus,
                    include_dashboard=False, **options,
                )  # fmt: skip
        except Exception as error:  # Ray raises what the system or one of its processes said
            raise RunError(
                f"Ray does not start on this machine ({reason(error)}); its reports are in the "
                "newest folder of /tmp/ray; --verbose shows more"
            ) from None
    else:
        ours = (folds, tracking, distributed)  # machines of the cluster need no copy of the code
        packages = [str(Path(package.__file__ or "").parent) for package in ours]
        try:
            with ray_habits.own_sigterm():
                ray.init(
                    address=address,
                    runtime_env={
                        "py_modules": packages,
                        "env_vars": {name: os.environ[name] for name in _ENV},
                    },
                    **options,
                )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _no_answer(address, reason(error)) from None
    if not verbose:
        for name in ("ray", "ray.train", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)


class Starter:
    """Starts Ray when it is first needed; a local one, if wished, in the background before.

    Parameters
    ----------
    address : str, optional
        The cluster to join; default: a local Ray.
    verbose : bool
        Show what Ray prints.
    """

    def __init__(self, address: str | None, *, verbose: bool) -> None:
        self.address, self._verbose = address, verbose
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._error: BaseException | None = None

    def begin(self) -> None:
        """Begin to start a local Ray, while the caller does something else.

        Raises
        ------
        UserError
            No cluster answers at the address.
        """
        _check_answers(self.address)
        if self.address is None:
            import ray  # noqa: F401  (here, and not by two threads at once)

            self._thread = threading.Thread(target=self._start, name="ray", daemon=True)
            self._thread.start()

    def __call__(self) -> None:
        """Return when Ray is there.

        Raises
        ------
        UserError
            No cluster answers at the address.
        """
        if self._thread is None:
            start(self.address, local_resources(), verbose=self._verbose)
        else:
            self._ready.wait()
        if self._error is not None:
            raise self._error

    def _start(self) -> None:
        try:
            start(self.address, local_resources(), verbose=self._verbose)
        except BaseException as error:
            self._error = error
        self._ready.set()
        threading.Event().wait()  # Ray's processes end with the thread that has started them


def _check_answers(address: str | None) -> str | None:
    """Try the address for a few seconds; Ray itself would try for minutes.

    Returns
    -------
    str, optional
        The address; that of a cluster for ``auto``.
    """
    named = _found() if address == "auto" else address
    host, _, port = (named or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except OSError as error:
            why = f"{named}: {reason(error)}" if named != address else reason(error)
            raise _no_answer(str(address), why) from None
    return named


def _found() -> str:
    """The cluster that `ray start` began on this machine.

    Notes
    -----
    Ray itself would also take the private Ray of any other process, and end with it.
    """
    from ray._private import services

    latest = services.find_bootstrap_address(None)
    if latest is None:
        others = " or ".join(sorted(services.find_gcs_addresses()))
        known = f"; of others that run here, give HOST:PORT: {others}" if others else ""
        raise _no_answer("auto", f"`ray start` began none on this machine{known}")
    return str(latest)


def _no_answer(address: str, reason: str) -> UserError:
    return UserError(
        f"--address {address}: no Ray cluster answers ({reason}); start one with "
        "`ray up cluster.yaml` or `ray start --head`, or leave the flag and RAY_ADDRESS out"
    )


def stop() -> None:
    """Wait until the lanes have put their workers away, then shut Ray down."""
    import ray

    for thread in threading.enumerate():
        if thread.name.startswith(LANE_THREAD):
            thread.join(_END_S)
            if thread.is_alive():
                return
    ray.shutdown()


def cluster_resources() -> Resources:
    """What the joined cluster has, or may grow to when it scales itself."""
    import ray

    now, most = ray.cluster_resources(), _launched_with()
    nodes = tuple(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    cpus, gpus = (int(max(now.get(k, 0), most.get(k, 0))) for k in ("CPU", "GPU"))
    return Resources(cpus, gpus, nodes)


def _launched_with() -> dict[str, float]:
    """What the cluster may grow to, from the file that `ray up` leaves on the head node.

    Workers that only start on demand are not there yet when the folds are planned.
    """
    path = Path("~/ray_bootstrap_config.yaml").expanduser()
    if not path.exists():
        return {}
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    head = config.get("head_node_type")
    total: dict[str, float] = {}
    for name, kind in config.get("available_node_types", {}).items():
        count = 1 if name == head else kind.get("max_workers", 0)
        for resource, amount in kind.get("resources", {}).items():
            total[resource] = total.get(resource, 0) + count * amount
    return total
