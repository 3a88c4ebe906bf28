"""MLflow on PostgreSQL with its files in an S3-compatible store, through a server and straight."""

import json
import shutil
import tempfile
from pathlib import Path

import mlflow
import pytest

from distributed.lanes import recording
from tests.distributed.test_end_to_end import BASE, environment, python
from tests.faults.faults import Job, recorded_once
from tests.servers import MlflowServer, ObjectStore, Postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
EPOCHS = 6
RUN = [
    *BASE, "--stages", f"1:{EPOCHS}:1e-3", "--shift", "off", "--audit", "off", "--candidate",
    "best-fold", "--output", "out",
]  # fmt: skip


class Place:
    """Where a run goes, and what its commands need in their environment."""

    def __init__(self, uri, files, database, variables):
        self.uri, self.files, self.database, self.variables = uri, files, database, variables

    @property
    def client(self):
        return mlflow.MlflowClient(self.uri, self.uri)

    @property
    def experiment(self):
        return self.client.get_experiment_by_name("crossfold")


@pytest.fixture(params=["server", "straight"])
def place(request, tmp_path, monkeypatch):
    with ObjectStore(tmp_path) as files, Postgres() as database:
        for name, value in files.variables.items():
            monkeypatch.setenv(name, value)
        root = f"s3://{files.BUCKET}/runs"
        if request.param == "server":
            folder = tmp_path / "server"
            folder.mkdir()
            options = "--artifacts-destination", root
            with MlflowServer(folder, database.uri, *options, **files.variables) as server:
                for name in files.variables:  # the server alone speaks to the object store
                    monkeypatch.delenv(name)
                yield Place(server.uri, files, database, {})
        else:
            mlflow.MlflowClient(database.uri, database.uri).create_experiment("crossfold", root)
            yield Place(database.uri, files, database, files.variables)


def cv(folder, place, *argv, **variables):
    argv = [*RUN, "--tracking-uri", place.uri, *argv]
    return Job(folder, "distributed.cv", *argv, **place.variables, **variables)


def check(place):
    """Assert that all is there once, and that the model's files are in the bucket."""
    recorded_once(place.client, place.experiment.experiment_id, folds=2, epochs=EPOCHS)
    names = [key.rsplit("/", 1)[-1] for key in place.files.files()]
    assert names.count("MLmodel") == 3  # of two folds, and what is registered
    assert names.count("model.safetensors") == 3
    assert names.count("report.html") == 1


def test_a_run_is_resumed_promoted_compared_and_asked(tmp_path, place):
    with cv(tmp_path, place) as job:
        job.epoch(0, 2)
        job.process.kill()
        job.process.wait()
    resumed = python(tmp_path, "distributed.cv", "--resume", "--tracking-uri", place.uri)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    check(place)
    with cv(tmp_path, place, "--batch-size", "8") as job:
        assert job.end() == (0, "")
    assert not (tmp_path / "mlruns").exists()
    argv = "--tracking-uri", place.uri
    for module, *words in (
        ["tracking.promote"],
        ["tracking.compare", "models:/crossfold/1", "models:/crossfold/2"],
        ["tracking.predict", "--data", "digits", "--out", "preds.csv"],
    ):
        ran = python(tmp_path, module, *words, *argv)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len((tmp_path / "preds.csv").read_text().splitlines()) == 1798


def test_an_object_store_that_is_killed_is_told_and_resume_goes_on_when_it_is_back(tmp_path, place):
    with cv(tmp_path, place, **{recording.PATIENCE: "5"}) as job:
        job.epoch(0, 1)
        place.files.stop()
        status, errors = job.end()
        name = job.space.name
    assert status == 1
    (line,) = errors.splitlines()
    assert line.startswith("failed: ")
    assert f"`python -m tracking.replay {name}" in line
    assert any(word in line for word in ("S3", "s3:", "mlflow-artifacts", place.files.uri))
    assert ObjectStore.SECRET not in line
    place.files.start()
    ran = python(tmp_path, "tracking.replay", "--tracking-uri", place.uri)
    assert ran.returncode == 0, ran.stderr
    ran = python(tmp_path, "distributed.cv", "--resume", "--tracking-uri", place.uri)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    check(place)


def secrets_in(folder):
    """Files that hold a password or a key."""
    words = [Postgres.PASSWORD.encode(), ObjectStore.SECRET.encode()]
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if any(word in path.read_bytes() for word in words)]


@pytest.fixture
def ray_folder():
    """Where Ray keeps its files: its name is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="cf", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("place", ["straight"], indirect=True)
def test_no_password_and_no_key_is_kept_or_told_by_a_run_that_fails(tmp_path, place, ray_folder):
    folder = tmp_path / "run"
    folder.mkdir()
    variables = {recording.PATIENCE: "3", "RAY_TMPDIR": str(ray_folder)}
    with cv(folder, place, **variables) as job:
        job.epoch(0, 1)
        place.database.stop()
        status, errors = job.end()
    assert status == 1
    assert len(errors.splitlines()) == 1
    assert Postgres.PASSWORD not in job.told()
    assert secrets_in(folder) == secrets_in(ray_folder) == []
    place.database.start()
    again = ["--tracking-uri", place.uri]
    for module, *argv in (["tracking.replay"], ["distributed.cv", "--resume"]):
        ran = python(folder, module, *argv, *again)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert Postgres.PASSWORD not in ran.stdout + ran.stderr
    check(place)
    assert secrets_in(folder) == []
    words = Postgres.PASSWORD.encode(), ObjectStore.SECRET.encode()
    kept = [place.database.dump(), *map(place.files.read, place.files.files())]
    assert not [content for content in kept if any(word in content for word in words)]
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert "crossfold" not in summary["mlflow"]["tracking_uri"].partition("?")[0].partition("@")[0]
    assert environment()["AWS_SECRET_ACCESS_KEY"] == ObjectStore.SECRET  # there was one to tell
