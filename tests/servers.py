"""Servers of tests: MLflow's, and PostgreSQL, in processes of their own."""

import contextlib
import http.client
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """A server in a session of its own that can be stopped and started again.

    Parameters
    ----------
    command : list of str
    folder : Path
        Where it runs.
    log : Path
        What it prints.
    health : str
        An address that answers once it is there.
    environment : dict of str to str
    """

    def __init__(self, command, folder, log, health, environment):
        self._command, self._folder, self._log = command, folder, log
        self._health, self._environment = health, environment
        self._process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGTERM)

    def start(self):
        """Start it, and wait until it answers."""
        with self._log.open("a") as file:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip
        while not _answers(self._health):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=0.2)
                raise AssertionError(self._log.read_text())

    def stop(self, how=signal.SIGKILL):
        """End it, if it runs; by default without a word."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, how)
            self._process.wait()
        self._process = None


class MlflowServer(Server):
    """`mlflow server` on a database; what it prints is in `folder / "log"`.

    Parameters
    ----------
    folder : Path
    database : str
    *options
        Of ``mlflow server``.
    **variables
        Added to its environment.
    """

    def __init__(self, folder, database, *options, **variables):
        port = free_port()
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
            "--workers", "1", "--backend-store-uri", database, *options,
        ]  # fmt: skip
        changed = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # calls uvicorn
        self.port, self.uri = port, f"http://127.0.0.1:{port}"
        environment = os.environ | QUIET | changed | variables
        super().__init__(command, folder, folder / "log", f"{self.uri}/health", environment)


@contextlib.contextmanager
def mlflow_server(folder, database, *options):
    """The address of an `MlflowServer`."""
    with MlflowServer(folder, database, *options) as server:
        yield server.uri


class Proxy(ThreadingHTTPServer):
    """Stands before a server on loopback and spoils what passes, as it is told.

    Parameters
    ----------
    port : int
        The server's.

    Notes
    -----
    `fault` is asked of each request (method, path, body) and gives None, a number (of seconds that
    the answer is late), "error" (500), "away" (closed without an answer, and not passed on), "deaf"
    (passed on, and no answer) or "hang" (passed on, and no answer until `close`).
    """

    daemon_threads = True

    def __init__(self, port):
        super().__init__(("127.0.0.1", 0), _Spoiler)
        self.upstream, self.uri = port, f"http://127.0.0.1:{self.server_port}"
        self.fault = lambda method, path, body: None
        self.closed = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_):
        self.closed.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, address):
        """Say nothing of clients that went away."""


class _Spoiler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_one(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.fault(self.command, self.path, body)
        if fault == "error":
            return self._answer(500, [], b"made up")
        if fault == "away":
            return self._hang_up()
        status, headers, content = self._ask(body)
        if fault == "hang":
            self.server.closed.wait()
        if fault in ("deaf", "hang"):
            return self._hang_up()
        self.server.closed.wait(fault or 0)
        return self._answer(status, headers, content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_one

    def _ask(self, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=120)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
        with contextlib.closing(connection):
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    def _answer(self, status, headers, content):
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _hang_up(self):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_):
        pass


def _answers(address):
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


class Postgres:
    """A PostgreSQL of its own; skips where there is none.

    It listens on a socket in a folder whose path is short enough for one, and on no port.
    """

    PASSWORD = "pgs3cr3t"  # it lets everybody in, and so asks for none

    def __init__(self, database="runs"):
        installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
        programs = shutil.which("initdb") or next(iter(installed), None)
        if programs is None:
            pytest.skip("no PostgreSQL: apt-get install postgresql")
        self._psycopg2 = pytest.importorskip("psycopg2", reason="pip install psycopg2-binary")
        self._binaries, self._database = Path(programs).resolve().parent, database
        self._user = _no_root()

    def __enter__(self):
        self._folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
        self._data = self._folder / "data"
        try:
            if self._user is not None:
                os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
            encoding = ["-E", "UTF8", "--no-sync"]
            self._run("initdb", "-D", self._data, "-U", "crossfold", "-A", "trust", *encoding)
            self.start()
            self._run("createdb", "-h", self._folder, "-U", "crossfold", self._database)
            host = str(self._folder)
            self._psycopg2.connect(host=host, user="crossfold", dbname=self._database).close()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with contextlib.suppress(subprocess.CalledProcessError):  # it is stopped already
            self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def uri(self):
        """The database's address for SQLAlchemy, with a password."""
        where = f"/{self._database}?host={self._folder}"
        return f"postgresql+psycopg2://crossfold:{self.PASSWORD}@{where}"

    def start(self):
        """Start it, and wait until it answers."""
        options = f"-c listen_addresses= -c fsync=off -k {self._folder}"
        log = self._folder / "log"
        self._run("pg_ctl", "-D", self._data, "-w", "-o", options, "-l", log, "start")

    def stop(self):
        """End it as if the power failed."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "stop")

    def dump(self):
        """All that it holds, as SQL."""
        words = "pg_dump", "-h", self._folder, "-U", "crossfold", self._database
        return self._run(*words).stdout

    def _run(self, program, *argv):
        return subprocess.run(
            [self._binaries / program, *argv], cwd=self._folder, check=True, capture_output=True,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            user=self._user and self._user.pw_uid, group=self._user and self._user.pw_gid,
        )  # fmt: skip


@contextlib.contextmanager
def postgres(database="runs"):
    """The address of a database on a `Postgres`."""
    with Postgres(database) as server:
        yield server.uri


class ObjectStore(Server):
    """moto's S3, which keeps all in memory; skips where there is none.

    Parameters
    ----------
    folder : Path
        For its log.
    """

    KEY, SECRET, BUCKET = "AKIAMADEUP", "s3s3cr3tkey", "crossfold"

    def __init__(self, folder):
        pytest.importorskip("moto", reason="no moto: pip install 'moto[s3]'")
        port = free_port()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        self.uri = f"http://127.0.0.1:{port}"
        super().__init__(command, folder, folder / "s3.log", self.uri, os.environ.copy())

    def start(self):
        """Start it, with an empty bucket."""
        super().start()
        self.client.create_bucket(Bucket=self.BUCKET)

    @property
    def variables(self):
        """What who uses it needs in its environment."""
        return {
            "AWS_ACCESS_KEY_ID": self.KEY, "AWS_SECRET_ACCESS_KEY": self.SECRET,
            "AWS_DEFAULT_REGION": "us-east-1", "MLFLOW_S3_ENDPOINT_URL": self.uri,
        }  # fmt: skip

    @property
    def client(self):
        """boto3's."""
        boto3 = pytest.importorskip("boto3")
        return boto3.client(
            "s3", endpoint_url=self.uri, aws_access_key_id=self.KEY,
            aws_secret_access_key=self.SECRET, region_name="us-east-1",
        )  # fmt: skip

    def files(self):
        """The keys of all objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.BUCKET)
        return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def read(self, key):
        """The content of an object."""
        return self.client.get_object(Bucket=self.BUCKET, Key=key)["Body"].read()


def _no_root():
    """Whom PostgreSQL, which refuses to run as root, shall run as; None: as who we are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    pytest.skip("PostgreSQL does not run as root, and there is no user nobody")
