"""MLflow is stopped, slow, answers 500, hears without answering, or its database is locked.

Training goes on, nothing is lost, and nothing is in MLflow twice.
"""

import contextlib
import signal
import sqlite3
import time

import mlflow
import pytest

from distributed.lanes import recording
from distributed.lanes.recording import RecorderThread
from tests.distributed.test_end_to_end import BASE, client_of, python
from tests.faults.faults import Job, recorded_once, resume, wait
from tests.servers import MlflowServer, Proxy
from tests.tracking.interrupted import content, events, interrupted
from tracking.events import EpochEnded, Finished
from tracking.parent_run import Runs
from tracking.recorder import Recorder
from tracking.store import connect

pytestmark = pytest.mark.slow
EPOCHS = 8
RUN = [
    *BASE, "--stages", f"1:{EPOCHS}:1e-3", "--shift", "off", "--audit", "off", "--output", "out",
    "--candidate", "best-fold",
]  # fmt: skip


class Tracker:
    """A server and, before it, what spoils its answers."""

    def __init__(self, server, proxy):
        self.server, self.proxy, self.uri = server, proxy, proxy.uri

    @property
    def client(self):
        """Of the server itself."""
        return mlflow.MlflowClient(self.server.uri, self.server.uri)

    @property
    def experiment(self):
        """The id of the runs' experiment."""
        return self.client.get_experiment_by_name("crossfold").experiment_id

    def spoil(self, fault):
        """Spoil the answers about runs, models and versions."""
        self.proxy.fault = lambda method, path, body: fault if "/api/" in path else None

    def heal(self):
        """Let everything pass."""
        self.proxy.fault = lambda method, path, body: None


@contextlib.contextmanager
def tracker_in(folder):
    folder.mkdir(exist_ok=True)
    files = "--no-serve-artifacts", "--default-artifact-root", str(folder / "mlruns")
    with (
        MlflowServer(folder, f"sqlite:///{folder}/mlflow.db", *files) as server,
        Proxy(server.port) as proxy,
    ):
        yield Tracker(server, proxy)


@pytest.fixture
def tracker(tmp_path):
    with tracker_in(tmp_path / "tracker") as made:
        yield made


def epochs(job):
    return sum(isinstance(event, EpochEnded) for event in job.journal())


def trained(job):
    """Wait until both folds are trained and in the journal; how many events there are."""

    def both():
        return sum(isinstance(event, Finished) for event in job.journal()) == 2

    wait(both, job, "the folds are not trained")
    return len(job.journal())


def written(job):
    """Events that are in MLflow."""
    return Runs.read(job.space / "mlflow.json").written


def notices(job):
    return [line for line in job.lines if line.startswith("notice: the tracker does not")]


def test_a_server_that_is_stopped_for_a_while_misses_nothing(tmp_path, tracker):
    with Job(tmp_path, "distributed.cv", *RUN, "--tracking-uri", tracker.server.uri) as job:
        job.epoch(0, 1)
        tracker.server.stop()
        before = epochs(job)
        wait(lambda: epochs(job) >= before + 6, job, "training waits for the tracker")
        job.line("notice: the tracker does not take events")
        tracker.server.start()
        status, errors = job.end()
    assert (status, errors) == (0, "")
    assert len(notices(job)) == 1
    recorded_once(tracker.client, tracker.experiment, folds=2, epochs=EPOCHS)


@pytest.mark.parametrize("fault", [2.0, "error", "away"])
def test_training_does_not_wait_for_a_tracker_that_is_slow_or_fails(tmp_path, tracker, fault):
    with Job(tmp_path, "distributed.cv", *RUN, "--tracking-uri", tracker.uri) as job:
        job.epoch(0, 1)
        tracker.spoil(fault)
        there = trained(job)
        assert written(job) < there  # it is behind, and training is done
        tracker.heal()
        status, errors = job.end()
    assert (status, errors) == (0, "")
    assert len(notices(job)) == (0 if fault == 2.0 else 1)
    recorded_once(tracker.client, tracker.experiment, folds=2, epochs=EPOCHS)


def test_training_does_not_wait_for_a_database_that_somebody_locks(tmp_path):
    with Job(tmp_path, "distributed.cv", *RUN) as job:
        job.epoch(0, 1)
        with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db", timeout=60)) as other:
            other.isolation_level = None
            other.execute("BEGIN EXCLUSIVE")
            there = trained(job)
            assert written(job) < there
            job.line("notice: the tracker does not take events")
            other.execute("ROLLBACK")
        status, errors = job.end()
    assert (status, errors) == (0, "")
    client = client_of(tmp_path)
    experiment = client.get_experiment_by_name("crossfold").experiment_id
    recorded_once(client, experiment, folds=2, epochs=EPOCHS)


def test_a_tracker_that_stays_away_ends_the_run_in_time_and_replay_brings_all(tmp_path, tracker):
    variables = {recording.PATIENCE: "6"}
    with Job(tmp_path, "distributed.cv", *RUN, "--tracking-uri", tracker.uri, **variables) as job:
        job.epoch(0, 1)
        tracker.spoil("away")
        there, began = trained(job), time.monotonic()
        status, errors = job.end()
        assert time.monotonic() - began < 60
    name = job.space.name
    missing = there - written(job)
    assert status == 1
    (line,) = errors.splitlines()
    assert line.startswith(f"failed: {missing} events could not be written to {tracker.uri} (")
    assert f"they are kept: `python -m tracking.replay {name}` writes them when it" in line
    assert line.endswith(f"to go on: python -m distributed.cv --resume {name}")

    away = python(tmp_path, "tracking.replay", "--tracking-uri", tracker.uri)
    assert away.returncode == 2
    assert len(away.stderr.splitlines()) == 1

    tracker.heal()
    for count in (missing, 0):  # done again, it adds nothing
        ran = python(tmp_path, "tracking.replay")
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.startswith(f"{count} event")
        assert f" of {name} written to {tracker.uri}, its run closed as FAILED; to" in ran.stdout
        runs = tracker.client.search_runs([tracker.experiment])
        assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED", "FINISHED"]
    assert tracker.client.search_registered_models() == []

    resume(tmp_path)
    recorded_once(tracker.client, tracker.experiment, folds=2, epochs=EPOCHS)
    (version,) = tracker.client.search_model_versions("name='crossfold'")
    candidate = tracker.client.get_model_version_by_alias("crossfold", "candidate")
    assert candidate.version == version.version
    assert not (tmp_path / ".crossfold").exists()


def test_ctrl_c_is_not_held_up_by_a_tracker_that_hangs(tmp_path, tracker):
    with Job(tmp_path, "distributed.cv", *RUN, "--tracking-uri", tracker.uri) as job:
        job.epoch(0, 1)
        tracker.spoil("hang")
        before = epochs(job)
        wait(lambda: epochs(job) > before, job, "no epoch")
        began = time.monotonic()
        job.process.send_signal(signal.SIGINT)
        status, errors = job.end()
        assert time.monotonic() - began < 60
    assert status == 130
    assert len(errors.splitlines()) == 1
    assert "--resume" in errors


@pytest.mark.parametrize("step", ["registered-models/create", "runs/update"])
def test_a_tracker_that_goes_away_while_the_run_ends_is_waited_for(tmp_path, tracker, step):
    errors_left = []

    def fault(method, path, body):
        last = step in path and (step != "runs/update" or b"FINISHED" in body)
        return errors_left.pop() if last and errors_left else None

    with Job(tmp_path, "distributed.cv", *RUN, "--tracking-uri", tracker.uri) as job:
        tracker.proxy.fault = fault
        trained(job)
        errors_left.extend(["error"] * 2)
        status, errors = job.end()
    assert (status, errors, errors_left) == (0, "", [])
    recorded_once(tracker.client, tracker.experiment, folds=2, epochs=EPOCHS)
    assert len(tracker.client.search_model_versions("name='crossfold'")) == 1


def test_what_was_heard_without_an_answer_is_there_once(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "RETRY_S", 0.01)
    found = []
    for name, fault in (("calm", None), ("deaf", "deaf")):
        with tracker_in(tmp_path / name) as tracker:
            (tmp_path / name / "work").mkdir()
            monkeypatch.chdir(tmp_path / name / "work")
            store = connect(tracker.uri)
            space = interrupted(tmp_path / name / "work", store)
            recorder, heard, told = Recorder.of(store, space), set(), []
            if fault:
                tracker.proxy.fault = lost_once(heard)
            thread = RecorderThread(lambda event, r=recorder, s=space: r.take(event, s), "x",
                                    told.append)  # fmt: skip
            thread.take(events())
            thread.close()
            found.append(content(tmp_path / name))
            assert bool(heard) == bool(told) == bool(fault)
    calm, deaf = found
    assert deaf == calm
    assert len(calm["metrics"]) > 20


def lost_once(heard):
    """The answer to each request is lost the first time."""

    def fault(method, path, body):
        if method == "GET" or "/api/" not in path or (method, path, body) in heard:
            return None
        heard.add((method, path, body))
        return "deaf"

    return fault
