import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray
import yaml
from ray._private import services, utils

from distributed import cluster, ray_habits
from distributed.planning.plan import Resources
from folds.errors import RunError, UserError

ROOT = Path(__file__).parents[2]


def test_workers_that_are_not_started_yet_count(tmp_path, monkeypatch):
    """`ray up cluster.yaml` begins with no GPU worker; the plan must know what may come."""
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    (tmp_path / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("HOME", str(tmp_path))
    worker = next(
        kind for name, kind in config["available_node_types"].items()
        if name != config["head_node_type"]
    )  # fmt: skip
    most = cluster._launched_with()
    assert most["GPU"] == worker["max_workers"] * worker["resources"]["GPU"] > 0


def test_elsewhere_only_what_is_there_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cluster._launched_with() == {}


def test_a_joined_cluster_has_what_ray_says(local_ray, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cluster.cluster_resources() == Resources(2, 0, (2,))


def test_the_flag_wins_over_the_variable(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert cluster.address_of("auto") == "auto"
    assert cluster.address_of(None) == "10.0.0.1:6379"
    monkeypatch.delenv("RAY_ADDRESS")
    assert cluster.address_of(None) is None


def test_a_driver_that_joins_sends_the_token_that_the_machine_has(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster.os, "environ", {"HOME": str(tmp_path), "RAY_DEDUP_LOGS": "1"})
    cluster.set_environment("10.0.0.1:6379")
    assert "RAY_AUTH_MODE" not in cluster.os.environ
    assert cluster.os.environ["RAY_DEDUP_LOGS"] == "1"  # what the user has set stays
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    cluster.set_environment(None)
    assert "RAY_AUTH_MODE" not in cluster.os.environ
    cluster.set_environment("10.0.0.1:6379")
    assert cluster.os.environ["RAY_AUTH_MODE"] == "token"


def test_a_long_tmpdir_is_replaced_with_a_notice(monkeypatch):
    """A socket's name has at most 107 bytes; Ray's own takes 68 behind the folder's."""
    long = "/tmp/" + "x" * 90
    monkeypatch.setattr(cluster.os, "environ", {"HOME": "/tmp", "PATH": ""})
    monkeypatch.setattr(cluster.tempfile, "gettempdir", lambda: long)
    assert cluster.set_environment("10.0.0.1:6379") == []
    (said,) = cluster.set_environment(None)
    assert said == f"TMPDIR {long} is too long for the names of Ray's sockets: they are in /tmp/ray"
    assert cluster.os.environ["RAY_TMPDIR"] == "/tmp"
    assert cluster.set_environment(None) == []
    session = "/ray/session_2026-11-26_02-25-24_123456_4194304/sockets/plasma_store"
    assert cluster._LONGEST + len(session) <= 107


def test_where_no_folder_is_short_enough_tmpdir_is_named(monkeypatch):
    monkeypatch.setattr(cluster.os, "environ", {"HOME": "/", "PATH": ""})
    monkeypatch.setattr(cluster.tempfile, "gettempdir", lambda: "/tmp/" + "x" * 90)
    monkeypatch.setattr(cluster.os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match=r"TMPDIR /tmp/x*: too long .* set RAY_TMPDIR"):
        cluster.set_environment(None)


def test_auto_is_the_cluster_of_ray_start_and_no_private_one(monkeypatch):
    monkeypatch.setattr(services, "find_gcs_addresses", lambda: ["10.0.0.2:5"])
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: "10.0.0.1:6379")
    assert cluster._found() == "10.0.0.1:6379"
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: None)
    with pytest.raises(UserError, match=r"began none on this machine; .*HOST:PORT: 10.0.0.2:5\)"):
        cluster._found()


@pytest.mark.parametrize("left", [None, "127.0.0.1:9"])
def test_auto_without_a_cluster_is_refused_at_once(monkeypatch, left):
    """Also where the file of a cluster that is gone was left over."""
    monkeypatch.setattr(services, "find_gcs_addresses", lambda: [])
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: left)
    starter = cluster.Starter("auto", verbose=False)
    with pytest.raises(UserError, match=r"--address auto: no Ray cluster answers \(.*leave the"):
        starter.begin()


def test_a_home_that_cannot_be_written_to_is_told_and_done_without(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster.os, "environ", {"HOME": str(tmp_path / "none"), "PATH": ""})
    told = cluster.set_environment(None)
    home = tmp_path / "none"
    assert told == [f"HOME {home} cannot be written to: nothing is kept there for later runs"]
    assert {"RAY_AUTH_TOKEN", "MPLCONFIGDIR"} <= set(cluster.os.environ)


def test_a_local_ray_that_does_not_start_is_one_line(monkeypatch):
    def init(**options):
        raise OSError("AF_UNIX path length")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(RunError, match=r"Ray does not start on this machine \(AF_UNIX"):
        cluster.start(None, Resources(2, 0, (2,)), verbose=False)


def test_what_ray_lists_of_a_driver_has_no_password(local_ray, monkeypatch):
    monkeypatch.setattr(ray_habits.sys, "argv", ["cv", "--tracking-uri", "http://alice:pw@host:5"])
    assert utils.get_entrypoint_name() == "cv --tracking-uri http://host:5"


def test_ray_starts_its_processes_without_a_fork_that_libraries_see(monkeypatch):
    """Such a fork ends OpenBLAS's threads, for which the main thread may be waiting."""
    forks = []
    os.register_at_fork(before=lambda: forks.append(1))
    monkeypatch.setattr(services, "ConsolePopen", services.ConsolePopen)
    ray_habits.spawn_without_fork()
    read = ["cat", "/proc/self/status"]
    process = services.ConsolePopen(
        read, preexec_fn=lambda: forks.append(2), stdout=subprocess.PIPE
    )
    told = dict(line.split(":", 1) for line in process.communicate()[0].decode().splitlines())
    assert forks == []
    assert int(told["SigBlk"], 16) == 1 << (signal.SIGINT - 1)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
        assert not int(told["SigIgn"], 16) & 1 << (number - 1)


def test_what_was_started_so_ends_with_who_started_it():
    code = (
        "import os, signal\n"
        "from distributed.ray_habits import Spawn\n"
        "process = Spawn(['sleep', '1000'], preexec_fn=print)\n"
        "while open(f'/proc/{process.pid}/comm').read() != 'sleep\\n': pass\n"
        "print(process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)
    assert ran.returncode == -signal.SIGKILL
    end = time.monotonic() + 30
    while Path(f"/proc/{int(ran.stdout)}").exists():  # as it would for ever
        assert time.monotonic() < end


@pytest.mark.parametrize(
    "take",
    [
        lambda: ctypes.CDLL(None).signal(signal.SIGTERM, None),  # in C: Python does not know of it
        lambda: signal.signal(signal.SIGTERM, lambda *_: sys.exit(15)),
    ],
    ids=["core", "Python"],
)
def test_sigterm_stays_ours(take):
    """Ray would print a stack trace or exit with 15."""
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
    try:
        with ray_habits.own_sigterm():
            take()
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [1]
    finally:
        signal.signal(signal.SIGTERM, before)
