"""A replay that is killed after any of its writes, and done again, writes everything once."""

import multiprocessing
import os
import shutil
import signal

import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient

from tests.tracking.interrupted import content, interrupted
from tracking import models, recorder
from tracking.recorder import Recorder
from tracking.replay import replay
from tracking.run_folder import find
from tracking.store import connect

pytestmark = pytest.mark.slow  # about forty replays
WRITES = (
    "create_run", "log_batch", "log_inputs", "set_tag", "log_artifact", "create_logged_model",
    "log_model_artifacts", "log_outputs", "finalize_logged_model", "set_terminated",
)  # fmt: skip
FORK = multiprocessing.get_context("fork")  # what is imported is imported; no store is open


def in_child(work, folder, *argv):
    """Exit status of a process of its own that works in a folder."""
    process = FORK.Process(target=work, args=(folder, *argv))
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


def begin(folder):
    os.chdir(folder)
    interrupted(folder, connect(f"sqlite:///{folder}/mlflow.db"))


def replay_once(folder, kill_after=None):
    """Replay; with a number, until so many writes are done."""
    os.chdir(folder)
    for name in ("curves_figure", "confusion_figure"):  # what is drawn is not what is asked
        setattr(recorder, name, lambda *_: Figure())
    models._save = plain_model
    if kill_after is not None:
        done = iter(range(1, kill_after))
        for owner, name in [(MlflowClient, name) for name in WRITES] + [(Recorder, "remember")]:
            setattr(owner, name, deadly(getattr(owner, name), done))
    store, space = connect(f"sqlite:///{folder}/mlflow.db"), find("latest")
    replay(Recorder.of(store, space), space)


def plain_model(bundle, folder, model):
    folder.mkdir()
    (folder / "MLmodel").write_text(model.model_id)


def deadly(write, left):
    def call(*argv, **named):
        result = write(*argv, **named)
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call


def test_a_replay_that_is_killed_after_any_write_and_done_again_writes_all_once(tmp_path):
    folder, kept = tmp_path / "run", tmp_path / "kept"
    folder.mkdir()
    assert in_child(begin, folder) == 0
    shutil.copytree(folder, kept)
    assert in_child(replay_once, folder) == 0
    expected = content(folder)
    assert len(expected["runs"]) == 4
    assert len(expected["models"]) == 1
    assert len(expected["metrics"]) > 20
    killed = 0
    while True:
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        status = in_child(replay_once, folder, killed + 1)
        assert status in (0, -signal.SIGKILL)
        if status == 0:
            break
        killed += 1
        assert in_child(replay_once, folder) == 0, killed
        assert content(folder) == expected, killed
    assert killed > 30
