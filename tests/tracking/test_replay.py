"""Writing to MLflow from a run's folder alone."""

import json
import sys

import mlflow
import pytest

from folds.errors import RunError, UserError
from tests.tracking.interrupted import events, interrupted
from tracking import replay
from tracking.events import to_line
from tracking.recorder import Recorder
from tracking.run_folder import hold


@pytest.fixture
def space(tmp_path, store):
    return interrupted(tmp_path, store)


def run(monkeypatch, *argv):
    monkeypatch.setattr(sys, "argv", ["replay", *argv])
    replay.main()


def runs_of(space):
    """The runs of its experiment by name."""
    client = mlflow.MlflowClient()
    found = client.search_runs([client.get_experiment_by_name("cells").experiment_id])
    assert len(found) == len({run.info.run_name for run in found})
    return {run.info.run_name: run for run in found}


def test_what_mlflow_lacks_is_written_and_the_runs_are_closed(space, monkeypatch, capsys):
    run(monkeypatch)
    told = capsys.readouterr().out
    assert told.startswith("9 events of cut-off written to sqlite:///")
    assert told.endswith("register and report: python -m distributed.cv --resume cut-off\n")
    runs = runs_of(space)
    assert {name: run.info.status for name, run in runs.items()} == {
        "cut-off": "KILLED", "fold 1": "FINISHED", "fold 2": "KILLED", "fold 3": "FAILED",
    }  # fmt: skip
    assert runs["fold 3"].data.tags["crossfold.cause"] == "loss is nan"
    assert runs["fold 1"].data.metrics["shift/accuracy"] == 0.25
    assert len(runs["fold 1"].outputs.model_outputs) == 1
    client = mlflow.MlflowClient()
    points = client.get_metric_history(runs["fold 2"].info.run_id, "val_loss")
    assert [(p.step, p.timestamp - 1_700_000_000_000) for p in points] == [(1, 3), (2, 8)]
    assert client.search_registered_models() == []

    run(monkeypatch, "cut")
    assert capsys.readouterr().out.startswith("0 events of cut-off written")
    assert {n: r.info.status for n, r in runs_of(space).items()} == {
        n: r.info.status for n, r in runs.items()
    }


def test_what_was_written_before_is_not_written_again(space, store, monkeypatch, capsys):
    recorder = Recorder.of(store, space)
    for event in events()[:4]:
        recorder.take(event, space)
    recorder.close("FAILED")  # as the main job did
    run(monkeypatch)
    assert "5 events of cut-off written to" in capsys.readouterr().out
    assert runs_of(space)["cut-off"].info.status == "FAILED"


def test_an_event_that_was_written_but_not_remembered_is_there_once(space, store, monkeypatch):
    for event in events():
        Recorder.of(store, space).take(event, space)
        known = json.loads(space.memory.read_text())
        space.memory.write_text(json.dumps(known | {"written": known["written"] - 1}))
        Recorder.of(store, space).take(event, space)
    client = mlflow.MlflowClient()
    for one in runs_of(space).values():
        for name in one.data.metrics:
            steps = [p.step for p in client.get_metric_history(one.info.run_id, name)]
            assert len(steps) == len(set(steps)), name
    experiment = client.get_experiment_by_name("cells").experiment_id
    (model,) = client.search_logged_models([experiment])
    assert model.status == "READY"
    assert {m.key: m.value for m in model.metrics}["accuracy"] == 0.5


def test_half_a_line_at_the_end_of_the_journal_is_left_out(space, monkeypatch, capsys):
    with space.events.open("a") as file:
        file.write(to_line(events()[-1])[:20])
    run(monkeypatch)
    assert capsys.readouterr().out.startswith("9 events")


def test_a_run_that_is_still_going_is_left_alone(space, monkeypatch):
    with hold(space), pytest.raises(UserError, match=r"^RUN: no interrupted run in .*/\.crossfold"):
        run(monkeypatch)


def test_a_run_that_is_not_there_is_refused_in_one_line(space, monkeypatch):
    with pytest.raises(UserError, match=r"^RUN other: no such interrupted run.*cut-off"):
        run(monkeypatch, "other")


def test_a_run_that_was_cut_off_before_mlflow_is_left_to_resume(space, monkeypatch):
    space.memory.unlink()
    with pytest.raises(UserError, match=r"has no run of it yet; to go on: .* --resume cut-off"):
        run(monkeypatch)


def test_another_store_is_refused_with_the_right_one(space, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=rf"the run is in sqlite:///{tmp_path}/mlflow.db"):
        run(monkeypatch, "--tracking-uri", f"sqlite:///{tmp_path}/other.db")


def test_what_cannot_be_written_is_one_line_and_the_rest_goes_on_from_there(
    space, monkeypatch, capsys
):
    result = space.fold(0) / "result.npz"
    result.rename(space.folder / "aside")
    with pytest.raises(RunError, match=r"^4 events of cut-off not written to .*result\.npz"):
        run(monkeypatch)
    (space.folder / "aside").rename(result)
    run(monkeypatch)
    assert capsys.readouterr().out.startswith("4 events")
