"""A password in the tracker's address is used, and reaches nothing that is kept or shown."""

import subprocess
import sys

import pytest

from tests.distributed.test_end_to_end import BASE, environment
from tests.servers import mlflow_server

SECRET = "s3cr3tp"  # its last letter, w, is escaped in the address
LOGIN = "alice:s3cr3tp%77@"
ARGV = [*BASE, "--stages", "1:1:1e-3", "--shift", "off", "--output", "out"]


def cv(folder, *argv, **changed):
    return subprocess.run(
        [sys.executable, "-m", "distributed.cv", *argv],
        cwd=folder, capture_output=True, text=True, env=environment() | changed, timeout=300,
    )  # fmt: skip


def told(secret, flag):
    """The tracker's address as a flag, or as a variable."""
    return (["--tracking-uri", secret], {}) if flag else ([], {"MLFLOW_TRACKING_URI": secret})


def leaks(folder):
    """Files that hold the password, or are called by it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [
        path for path in files if SECRET.encode() in path.read_bytes() or SECRET in str(path.name)
    ]


@pytest.mark.parametrize("flag", [pytest.param(True, marks=pytest.mark.slow), False])
def test_neither_flag_nor_variable_leave_a_password_anywhere(tmp_path, flag):
    with mlflow_server(tmp_path, f"sqlite:///{tmp_path}/mlflow.db") as uri:
        secret = uri.replace("://", f"://{LOGIN}")
        flags, variable = told(secret, flag)
        ran = cv(tmp_path, *ARGV, *flags, **variable)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert SECRET not in ran.stdout + ran.stderr
    assert f"look      {uri}\n" in ran.stdout
    assert leaks(tmp_path) == []
    assert len(list(tmp_path.rglob("MODEL_CARD.md"))) == 1


@pytest.mark.parametrize("flag", [True, False])
def test_a_server_that_is_away_is_named_without_password(tmp_path, flag):
    secret = f"http://{LOGIN}127.0.0.1:9"
    flags, variable = told(secret, flag)
    ran = cv(tmp_path, *ARGV, *flags, **variable)
    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 1
    place = "--tracking-uri" if flag else "MLFLOW_TRACKING_URI"
    assert ran.stderr.startswith(f"error: {place} http://127.0.0.1:9: the tracking server does not")
    assert SECRET not in ran.stdout + ran.stderr
