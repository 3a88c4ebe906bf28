import sys
from dataclasses import replace
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest

from folds.errors import UserError
from folds.training.outcome import EpochReport
from tracking.events import EpochEnded, Failed, Finished, Lost, Retried, Started
from tracking.promotion.registry import VersionNotes
from tracking.recorder import FoldFiles, Recorder

HISTORY = tuple(
    EpochReport(
        epoch=e, stage=e // 2, train_loss=2.0 - e / 2, first_loss=2.1, val_loss=1.5,
        val_accuracy=e / 4, val_macro_f1=e / 5, learning_rate=1e-3, images_per_second=100.0,
        seconds=1.0, score=e / 5,
    )
    for e in range(3)
)  # fmt: skip

FURTHER = {
    "tta_accuracy": 0.625, "shift.accuracy": 0.25, "shift.macro_f1": 0.125, "shift.blur": 0.125,
    "external.lab.accuracy": 0.75,
}  # fmt: skip


def events(tasks=1):
    for task in range(tasks):
        at = {"task": task, "time": 1_700_000_000_000 + task}
        balance = {"counts": {"a": 6, "b": 2}}
        where = {"lane": 0, "host": "here", "precision": "fp32"}
        yield Started(**at, **where, train=8, held_out=4, balance=balance)
        for report in HISTORY:
            yield EpochEnded(**at, report=report)
        scores = {"accuracy": 0.5, "roc_auc": float("nan")} | FURTHER
        yield Finished(**at, kept_epoch=2, scores=scores)


def fold_files(bundle, labels, probabilities):
    """What the Recorder reads of a fold's outcome, and no more."""
    outcome = SimpleNamespace(probabilities=probabilities, history=HISTORY)
    return FoldFiles(bundle, labels, outcome)


@pytest.fixture
def files(bundle):
    chances = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], np.float32)
    return fold_files(bundle, np.array([0, 1, 1, 0]), chances)


@pytest.fixture
def recorder(store, tmp_path):
    return recorder_in(store, tmp_path)


def recorder_in(store, folder, **changed):
    names = ["fold 1", "fold 2"]
    made = Recorder(store, folder / "memory.json", class_names=["a", "b"], names=names)
    tags = {"crossfold.dataset": "somewhere/cells", "crossfold.data_digest": "12ab"}
    made.open("cells", "run", {"folds": 2, "stages": ["1:3:0.001"]} | changed, tags)
    return made


def write(recorder, some, files):
    for event in some:
        recorder.write(event, files if isinstance(event, Finished) else None)


def runs_of(recorder):
    return mlflow.MlflowClient().search_runs([recorder.runs.experiment_id])


def test_a_fold_becomes_a_finished_child_run(recorder, files):
    write(recorder, events(), files)
    recorder.close("FINISHED")
    parent, child = sorted(runs_of(recorder), key=lambda r: r.data.tags["crossfold.kind"] == "fold")
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.params == parent.data.params | {
        "fold": "fold 1", "train_images": "8", "held_out": "4",
        "fold_class_counts": "{'a': 6, 'b': 2}",
    }  # fmt: skip
    assert child.data.params["stages"] == "1:3:0.001"
    assert child.data.metrics["kept_epoch"] == 3
    assert child.data.metrics["initial_loss"] == 2.1
    assert "roc_auc" not in child.data.metrics
    client = mlflow.MlflowClient()
    points = client.get_metric_history(child.info.run_id, "val_accuracy")
    assert [(p.step, p.value) for p in points] == [(1, 0.0), (2, 0.25), (3, 0.5)]
    assert {a.path for a in client.list_artifacts(child.info.run_id)} >= {
        "confusion.png", "curves.png",
    }  # fmt: skip


def test_scores_of_an_average_are_written_where_there_are_some(recorder, files):
    first, epoch, *_ = events()
    report = replace(epoch.report, ema_loss=1.25, ema_accuracy=0.5)
    write(recorder, [first, replace(epoch, report=report)], files)
    (run,) = (r for r in runs_of(recorder) if r.data.tags["crossfold.kind"] == "fold")
    found = {n: v for n, v in run.data.metrics.items() if n.startswith("ema_")}
    assert found == {"ema_loss": 1.25, "ema_accuracy": 0.5}


def test_a_restarted_recorder_goes_on_with_the_same_runs(store, tmp_path, recorder, files):
    some = list(events(2))
    write(recorder, some[:7], files)
    recorder.close("KILLED")
    assert {run.info.status for run in runs_of(recorder)} == {"KILLED", "FINISHED"}
    again = recorder_in(store, tmp_path)
    assert again.runs == replace(recorder.runs, status="")
    write(again, some[again.runs.written :], files)
    again.close("FINISHED")
    runs = runs_of(again)
    assert len(runs) == 3
    assert {run.info.status for run in runs} == {"FINISHED"}


class TestFoldsThatAreTriedAgain:
    CAUSE = "the loss became nan; goes on from its last checkpoint with 0.5 of the learning rates"

    def test_are_tagged_once_and_so_is_the_parent(self, recorder, files):
        first, *others = events()
        retried = Retried(task=0, time=others[0].time, cause=self.CAUSE, parts=1, rate=0.5)
        slower = replace(retried, cause="with 0.25", rate=0.25)
        write(recorder, [first, retried, retried, slower, *others], files)
        parent, child = sorted(
            runs_of(recorder), key=lambda r: r.data.tags["crossfold.kind"] == "fold"
        )
        assert child.data.tags["crossfold.retried"] == f"{self.CAUSE}\nwith 0.25"
        assert parent.data.tags["crossfold.notices"] == (f"fold 1: {self.CAUSE}\nfold 1: with 0.25")

    def test_have_both_numbers_of_an_epoch_and_the_later_counts(self, recorder, files):
        first, epoch, *_ = events()
        better = replace(epoch.report, val_loss=0.75)
        again = EpochEnded(task=0, time=epoch.time + 5, report=better)
        write(recorder, [first, epoch, again], files)
        (run,) = (r for r in runs_of(recorder) if r.data.tags["crossfold.kind"] == "fold")
        points = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_loss")
        assert sorted((p.step, p.value) for p in points) == [(1, 0.75), (1, 1.5)]
        assert run.data.metrics["val_loss"] == 0.75


def test_what_a_fold_is_chosen_by_is_a_curve_of_its_own(recorder, files):
    write(recorder, events(), files)
    (run,) = (r for r in runs_of(recorder) if r.data.tags["crossfold.kind"] == "fold")
    points = mlflow.MlflowClient().get_metric_history(run.info.run_id, "chosen_by/score")
    reports = [event.report for event in events() if isinstance(event, EpochEnded)]
    assert [(p.step, p.value) for p in points] == [(r.epoch + 1, r.score) for r in reports]


def test_folds_of_a_learning_curve_have_no_runs(recorder, files):
    before = recorder.runs.written
    beyond = [replace(event, task=99) for event in events()]
    write(recorder, beyond, files)
    assert [r.data.tags["crossfold.kind"] for r in runs_of(recorder)] == ["parent"]
    assert recorder.runs.written == before + len(beyond)


class TestAJournalThatLostEvents:
    def test_has_each_point_once_though_epochs_are_told_again(self, recorder, files):
        first, *epochs, end = events()
        write(recorder, [first, epochs[0], Lost(), epochs[2]], files)
        recorder.incomplete = True
        later = [replace(epoch, time=epoch.time + 7) for epoch in epochs]
        write(recorder, [*later, end], files)
        (run,) = (r for r in runs_of(recorder) if r.data.tags["crossfold.kind"] == "fold")
        points = mlflow.MlflowClient().get_metric_history(run.info.run_id, "train_loss")
        assert sorted((p.step, p.value) for p in points) == [(1, 2.0), (2, 1.5), (3, 1.0)]

    def test_has_a_run_though_nobody_told_that_the_fold_began(self, recorder, files):
        _, *others = events()
        recorder.incomplete = True
        write(recorder, [Lost(), *others], files)
        recorder.close("FINISHED")
        (run,) = (r for r in runs_of(recorder) if r.data.tags["crossfold.kind"] == "fold")
        assert run.info.status == "FINISHED"
        assert run.data.metrics["kept_epoch"] == 3
        assert run.data.tags["crossfold.fold"] == "fold 1"


def test_a_run_that_goes_on_elsewhere_keeps_the_parameters_it_began_with(
    store, tmp_path, recorder, files
):
    write(recorder, list(events())[:2], files)
    again = recorder_in(store, tmp_path, folds=3)
    write(again, list(events())[2:], files)
    again.close("FINISHED")
    assert {run.data.params["folds"] for run in runs_of(again)} == {"2"}


def test_a_fold_that_failed_says_why_until_it_is_finished(store, tmp_path, recorder, files):
    some = list(events())
    write(recorder, [*some[:2], Failed(task=0, cause="it broke")], files)
    recorder.close("FINISHED")
    (child,) = (r for r in runs_of(recorder) if r.data.tags["crossfold.kind"] == "fold")
    assert (child.info.status, child.data.tags["crossfold.cause"]) == ("FAILED", "it broke")
    again = recorder_in(store, tmp_path)
    again.fail(0, "it broke")  # and is left out, as with --allow-partial
    again.close("FINISHED")
    statuses = {r.data.tags["crossfold.kind"]: r.info.status for r in runs_of(again)}
    assert statuses == {"fold": "FAILED", "parent": "FINISHED"}
    last = recorder_in(store, tmp_path)
    write(last, some[2:], files)
    last.close("FINISHED")
    (child,) = (r for r in runs_of(last) if r.data.tags["crossfold.kind"] == "fold")
    assert child.info.status == "FINISHED"
    assert "crossfold.cause" not in child.data.tags


def test_an_event_written_twice_is_in_mlflow_once(recorder, files):
    some = list(events())
    write(recorder, some, files)
    write(recorder, some[1:], files)
    client = mlflow.MlflowClient()
    child = recorder.runs.folds["0"]
    assert len(client.get_metric_history(child, "val_loss")) == 3
    assert len(client.search_logged_models([recorder.runs.experiment_id])) == 1


def test_a_failed_fold_tells_its_cause_and_stays_failed(recorder, files):
    first = next(events())
    write(recorder, [first, Failed(task=0, time=1, cause="nan")], files)
    child = mlflow.MlflowClient().get_run(recorder.runs.folds["0"])
    assert child.info.status == "FAILED"
    assert child.data.tags["crossfold.cause"] == "nan"


def test_registering_twice_makes_one_version(recorder, bundle):
    model = bundle, "ensemble", "cells", VersionNotes({"crossfold.candidate": "ensemble"}, "text")
    assert recorder.register(*model) == recorder.register(*model) == "1"


def test_final_scores_have_no_step_and_stand_in_groups(recorder, files):
    write(recorder, events(), files)
    client, run = mlflow.MlflowClient(), recorder.runs.folds["0"]
    finals = {"accuracy", "kept_epoch", "shift/blur", "shift/macro_f1", "external/lab/accuracy"}
    found = client.get_run(run).data.metrics
    assert finals <= set(found)
    assert found["shift/accuracy"] == 0.25
    assert {p.step for name in finals for p in client.get_metric_history(run, name)} == {0}


def test_a_model_has_the_scores_of_its_fold(recorder, files):
    write(recorder, events(), files)
    (model,) = mlflow.MlflowClient().search_logged_models([recorder.runs.experiment_id])
    assert {m.key: m.value for m in model.metrics}.items() >= {
        "accuracy": 0.5, "external/lab/accuracy": 0.75,
    }.items()  # fmt: skip


def test_a_fold_is_described_with_a_table_and_links(recorder, files):
    write(recorder, events(), files)
    run = mlflow.MlflowClient().get_run(recorder.runs.folds["0"])
    note = run.data.tags["mlflow.note.content"]
    assert "Epoch 3 of 3 was kept." in note
    assert [line for line in note.splitlines() if line.startswith("|")] == [
        "| images | accuracy | macro-F1 | AUC | log loss |",
        "| :-- | --: | --: | --: | --: |",
        "| validation | 0.500 | - | - | - |",
        "| validation, TTA | 0.625 | - | - | - |",
        "| validation, corrupted | 0.250 | 0.125 | - | - |",
        "| external lab | 0.750 | - | - | - |",
    ]
    parent, own = (f"/runs/{key}" for key in (recorder.runs.parent, run.info.run_id))
    for target in (parent, f"{parent}/artifacts/report.html", f"{own}/artifacts/curves.png"):
        assert f"(#/experiments/{run.info.experiment_id}{target}?" in note


def test_folds_that_are_compared_have_colours_of_their_own(recorder, files):
    write(recorder, events(2), files)
    folds = [run.data.tags for run in runs_of(recorder) if "crossfold.fold" in run.data.tags]
    assert len({tags["mlflow.runColor"] for tags in folds}) == 2


def test_a_refit_is_described_without_scores(recorder, files):
    started, *epochs, finished = events()
    refit = [replace(started, held_out=0), *epochs, replace(finished, scores={})]
    nothing = fold_files(files.bundle, files.labels[:0], files.outcome.probabilities[:0])
    write(recorder, refit, nothing)
    note = mlflow.MlflowClient().get_run(recorder.runs.folds["0"]).data.tags["mlflow.note.content"]
    assert "|" not in note
    assert "[curves]" in note
    assert "[confusion]" not in note


def test_every_run_names_its_data_and_who_made_it(recorder, files):
    write(recorder, events(), files)
    write(recorder, list(events())[:1], files)
    for run in runs_of(recorder):
        (used,) = run.inputs.dataset_inputs
        assert (used.dataset.name, used.dataset.digest) == ("cells", "12ab")
        assert run.data.tags["crossfold.dataset"] == "somewhere/cells"
        assert run.data.tags["mlflow.user"]


def test_a_fold_that_failed_before_it_started_does_not_stop_the_others(recorder, files):
    failed = Failed(task=1, time=1, cause="its workers were lost")
    write(recorder, [failed, *events()], files)
    recorder.close("FAILED")
    statuses = {run.data.tags["crossfold.kind"]: run.info.status for run in runs_of(recorder)}
    assert statuses == {"parent": "FAILED", "fold": "FINISHED"}


def test_closing_leaves_a_failed_fold_failed(recorder, files):
    first = next(events())
    write(recorder, [first, Failed(task=0, time=1, cause="nan")], files)
    recorder.close("KILLED")
    statuses = {run.data.tags["crossfold.kind"]: run.info.status for run in runs_of(recorder)}
    assert statuses == {"parent": "KILLED", "fold": "FAILED"}


def test_a_start_that_was_half_written_is_completed(recorder, files, monkeypatch):
    first = next(events())
    fails = _FailsOnce(recorder.client, "log_batch")
    monkeypatch.setattr(recorder.writer, "_client", fails)
    with pytest.raises(ConnectionError):
        recorder.write(first)
    recorder.write(first)
    children = [r for r in runs_of(recorder) if r.data.tags["crossfold.kind"] == "fold"]
    assert len(children) == 1
    assert children[0].data.params["train_images"] == "8"


def test_another_store_is_refused_with_the_right_one(store, tmp_path, recorder):
    other = type(store)(f"sqlite:///{tmp_path}/other.db")
    with pytest.raises(UserError, match=f"the run is in {store.uri}"):
        recorder_in(other, tmp_path)


class _FailsOnce:
    """A client whose server goes away for one call."""

    def __init__(self, client, name):
        self._client, self._name = client, name

    def __getattr__(self, name):
        if name == self._name:
            self._name = ""
            raise ConnectionError(name)
        return getattr(self._client, name)


def test_a_place_that_takes_no_files_ends_the_run_before_it_begins(store, tmp_path):
    (tmp_path / "blocked").write_text("a file where a folder should be")
    mlflow.create_experiment("cells", (tmp_path / "blocked" / "files").as_uri())
    with pytest.raises(UserError, match=r"cells: its files cannot be written to file:"):
        recorder_in(store, tmp_path)
    assert not (tmp_path / "memory.json").exists()
    experiment = mlflow.get_experiment_by_name("cells")
    assert mlflow.MlflowClient().search_runs([experiment.experiment_id]) == []


def test_files_in_s3_without_its_library_are_refused_with_the_remedy(store, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)  # as if it were not installed
    mlflow.create_experiment("cells", "s3://bucket/runs")
    with pytest.raises(UserError, match=r"written to s3://bucket/runs/.*'crossfold\[s3\]'"):
        recorder_in(store, tmp_path)


def test_an_experiment_that_another_run_makes_meanwhile_is_taken(store, tmp_path, monkeypatch):
    found = mlflow.MlflowClient.get_experiment_by_name
    made = mlflow.create_experiment("cells", store.artifact_root)
    before = [None]  # what is known at first

    def look(self, name):
        return before.pop() if before else found(self, name)

    monkeypatch.setattr(mlflow.MlflowClient, "get_experiment_by_name", look)
    assert recorder_in(store, tmp_path).runs.experiment_id == made


def test_values_that_the_database_does_not_take_are_shortened(store, tmp_path):
    names = ["fold 1"]
    recorder = Recorder(store, tmp_path / "memory.json", class_names=["a", "b"], names=names)
    tags = {"crossfold.dataset": "d" * 9000, "crossfold.data_digest": "12ab" * 20, "x": "y" * 9000}
    recorder.open("cells", "run" * 100, {f"p{n}": "v" * 9000 for n in range(150)}, tags)
    run = mlflow.get_run(recorder.runs.parent)
    assert len(run.data.params) == 150
    assert {len(value) for value in run.data.params.values()} == {6000}
    assert len(run.data.tags["x"]) == 8000
    assert len(run.info.run_name) == 250
    (data,) = (one.dataset for one in run.inputs.dataset_inputs)
    assert (len(data.name), len(data.digest)) == (500, 36)
