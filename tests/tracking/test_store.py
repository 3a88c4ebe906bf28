import http.server
import threading

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
