"""Servers of tests: MLflow's, and PostgreSQL, in processes of their own."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def mlflow_server(folder, database, *options):
    """The address of `mlflow server` on a database; what it prints is in `folder / "log"`."""
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--backend-store-uri", database, *options,
    ]  # fmt: skip
    changed = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # it calls uvicorn
    address, environment = f"http://127.0.0.1:{port}", os.environ | QUIET | changed
    with running(command, folder, folder / "log", f"{address}/health", environment):
        yield address


@contextlib.contextmanager
def running(command, folder, log, health, environment):
    """A server in a session of its own, from when it answers at `health` to the block's end."""
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        while not _answers(health):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.2)
                raise AssertionError(log.read_text())
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _answers(address):
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@contextlib.contextmanager
def postgres(database="runs"):
    """The SQLAlchemy address of a database on a PostgreSQL of its own; skips where there is none.

    It listens on a socket in a folder whose path is short enough for one, and on no port.
    """
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    programs = shutil.which("initdb") or next(iter(installed), None)
    if programs is None:
        pytest.skip("no PostgreSQL: apt-get install postgresql")
    psycopg2 = pytest.importorskip("psycopg2", reason="no psycopg2: pip install psycopg2-binary")
    binaries = Path(programs).resolve().parent
    user = _no_root()
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)

    def run(program, *argv):
        subprocess.run(
            [binaries / program, *argv], cwd=folder, check=True, capture_output=True,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            user=user and user.pw_uid, group=user and user.pw_gid,
        )  # fmt: skip

    data, options = folder / "data", f"-c listen_addresses= -c fsync=off -k {folder}"
    try:
        run("initdb", "-D", data, "-U", "crossfold", "-A", "trust", "-E", "UTF8", "--no-sync")
        run("pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log", "start")
        try:
            run("createdb", "-h", folder, "-U", "crossfold", database)
            psycopg2.connect(host=str(folder), user="crossfold", dbname=database).close()
            yield f"postgresql+psycopg2://crossfold:pgs3cr3t@/{database}?host={folder}"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _no_root():
    """Whom PostgreSQL, which refuses to run as root, shall run as; None: as who we are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    pytest.skip("PostgreSQL does not run as root, and there is no user nobody")
