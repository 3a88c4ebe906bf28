import http.server
import os
import subprocess
import sys
import threading

import mlflow
import pytest

from folds.errors import UserError
from tracking import store as tracking_store


def test_the_default_is_an_sqlite_file_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = tracking_store.connect(None)
    assert store.uri == "sqlite:///mlflow.db"
    assert (tmp_path / "mlflow.db").exists()
    assert store.artifact_root == (tmp_path / "mlruns").as_uri()
    assert store.look == "mlflow ui --backend-store-uri sqlite:///mlflow.db"


def test_a_server_that_is_not_there_is_refused_with_a_remedy():
    with pytest.raises(UserError, match=r"does not answer.*mlflow server"):
        tracking_store.connect("http://127.0.0.1:9")


def test_a_server_that_is_something_else_is_refused():
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with pytest.raises(UserError, match="does not answer"):
            tracking_store.connect(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no folder .*/missing; make it first"):
        tracking_store.connect(f"sqlite:///{tmp_path}/missing/mlflow.db")


@pytest.fixture
def answering(tmp_path, monkeypatch):
    """MLflow's store answers at any address; the variables of the process are put back."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(mlflow.MlflowClient, "search_experiments", lambda *a, **k: [])
    yield monkeypatch
    mlflow.set_tracking_uri("")
    mlflow.set_registry_uri("")


def test_user_and_password_go_to_mlflow_and_out_of_the_address(answering):
    store = tracking_store.connect("http://al%40ice:p%2Fw@127.0.0.1:5000")
    assert store.uri == store.shown == store.look == "http://127.0.0.1:5000"
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "al@ice"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "p/w"
    assert store.again == " --tracking-uri http://USER:PASSWORD@127.0.0.1:5000"


def test_the_variable_gives_the_login_of_a_recorded_address(answering):
    answering.setenv("MLFLOW_TRACKING_URI", "http://alice:pw@127.0.0.1:5000")
    store = tracking_store.connect("http://127.0.0.1:5000")
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "pw"
    assert store.again == ""


def test_a_database_keeps_its_password_but_does_not_show_it():
    store = tracking_store.Store("postgresql://alice:pw@db/runs")
    assert store.shown == "postgresql://db/runs"
    assert store.look == "mlflow ui --backend-store-uri postgresql://USER:PASSWORD@db/runs"


@pytest.mark.parametrize("password", ["p/w", "p#w", "p?w"])
def test_a_password_that_would_end_the_host_is_refused(password):
    with pytest.raises(UserError, match="write it as %2F") as error:
        tracking_store.connect(f"http://alice:{password}@127.0.0.1:5000")
    assert password not in str(error.value)


@pytest.mark.parametrize("uri", ["alice:s3cr3tpw@host:5000", "http:/alice:s3cr3tpw@host:5000"])
def test_an_address_that_is_none_is_refused_without_its_password(uri, monkeypatch):
    with pytest.raises(UserError) as refused:
        tracking_store.connect(uri)
    assert str(refused.value) == (
        "--tracking-uri: has an @ but no ://; give an address such as http://USER:PASSWORD@HOST"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_URI: has an @"):
        tracking_store.connect(None)


def test_a_folder_that_cannot_be_written_to_is_named_and_no_flag(monkeypatch):
    monkeypatch.chdir("/proc")  # where root can write no more than others
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError) as refused:
        tracking_store.connect(None)
    assert str(refused.value) == (
        "/proc: cannot be written to; run in a folder that can be written to"
    )
    with pytest.raises(UserError, match=r"^--tracking-uri sqlite:////proc/x.db: /proc is no fol"):
        tracking_store.connect("sqlite:////proc/x.db")


_FIRST_USE = """
import sys
from tracking.store import connect
print("ready", flush=True)
sys.stdin.readline()
connect(None)
"""


def test_runs_that_make_the_database_at_once_all_get_it(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _FIRST_USE], cwd=tmp_path, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]  # fmt: skip
    for one in started:
        assert one.stdout.readline() == "ready\n"
    for one in started:
        one.stdin.write("\n")
        one.stdin.flush()
    errors = [one.communicate(timeout=120)[1] for one in started]
    assert [one.returncode for one in started] == [0, 0, 0], errors
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
