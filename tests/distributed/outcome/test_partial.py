"""A run some of whose folds have failed: what is told without, and done with --allow-partial."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest

from distributed.lanes import watch
from distributed.outcome.assessment import assess
from distributed.outcome.candidates import choose
from distributed.outcome.deciding import decide
from distributed.outcome.finish import finish
from distributed.outcome.partial import take_what_is_there
from distributed.outcome.pooling import pool
from distributed.outcome.summarise import summarise
from folds.errors import RunError
from folds.evaluation.calibration import served
from folds.evaluation.shift import score_corrupted
from tests.distributed.finished import finished_run, fold_of, problem_of
from tracking.events import EpochEnded, Failed, to_line

SCHEMA = Path(__file__).parents[3] / "docs" / "summary.schema.json"
NAN = "the loss became nan at epoch 1, step 3"


class Recorded:
    """Takes what a Recorder would write."""

    def __init__(self):
        self.runs = SimpleNamespace(parent="parent", experiment_id="1", folds={"0": "a", "2": "b"})
        self.store = SimpleNamespace(shown="sqlite:///x.db")
        self.failed, self.version, self.parent = {}, None, None

    def fail(self, task, cause):
        self.failed[task] = cause

    def register(self, folder, kind, name, about):
        self.version = about
        return "1"

    def log_confusion(self, figure):
        pass

    def log_parent(self, metrics, files, tags, curves=()):
        self.parent = tags


def ended(folder, missing, **settings):
    """A run whose folds have ended, those in `missing` by failing; nothing is decided yet."""
    run, _ = finished_run(folder, problem_of(**settings), missing=missing)
    return replace(run, missing={}, recorder=Recorded())


def shown(run):
    return run.console.file.getvalue()


class TestWithout:
    def test_each_fold_is_shown_and_nothing_is_averaged(self, tmp_path):
        run = ended(tmp_path, {1: NAN}, folds=3)
        with pytest.raises(RunError) as failure:
            take_what_is_there(run, {1: NAN})
        assert str(failure.value) == (
            f"fold 2: {NAN}; 2 of 3 folds are finished, nothing is averaged or registered (with "
            "--allow-partial the run ends with what is there)"
        )
        rows = [line for line in shown(run).splitlines() if line.startswith("│ fold")]
        assert [row.split("│")[2].strip() for row in rows] == ["3/3", "missing", "3/3"]
        for row, task in zip(rows[::2], (0, 2), strict=True):
            assert f"{run.space.read_outcome(task).scores['accuracy']:.3f}" in row
        assert f"missing   fold 2: {NAN}" in shown(run)
        assert "mean" not in shown(run)
        assert "pooled" not in shown(run)
        assert run.recorder.failed == {}

    @pytest.mark.parametrize("allowed", [False, True])
    def test_all_folds_failed_is_a_failure_in_any_case(self, tmp_path, allowed):
        missing = {0: NAN, 1: "its workers were lost (3 times)"}
        run = ended(tmp_path, missing, allow_partial=allowed)
        with pytest.raises(RunError, match=r"all folds have failed: fold 1: the loss .*; fold 2: "):
            take_what_is_there(run, missing)


class TestWith:
    def test_the_run_goes_on_with_what_is_there_and_the_fold_stays_failed(self, tmp_path):
        run = take_what_is_there(ended(tmp_path, {1: NAN}, folds=3, allow_partial=True), {1: NAN})
        assert (run.there, run.missing) == ([0, 2], {1: NAN})
        assert run.recorder.failed == {1: NAN}
        notice = "notice: --allow-partial: 2 of 3 folds are finished; the run ends with them"
        assert notice in shown(run)

    def test_a_refit_is_left_out_since_it_needs_all_folds(self, tmp_path):
        run = ended(tmp_path, {1: NAN, 3: "-"}, folds=3, allow_partial=True, candidate="refit")
        run = take_what_is_there(run, {1: NAN})
        assert (run.there, run.missing) == ([0, 2], {1: NAN, 3: "it needs all folds"})
        summary = summary_of(run)
        assert summary.registered.kind == "ensemble"
        assert "--candidate refit: there is none; the ensemble is registered" in shown(run)
        assert summary.partial.startswith("fold 2, refit are missing; scores are of ")

    def test_a_refit_alone_may_fail_and_the_scores_are_of_all(self, tmp_path):
        run = ended(tmp_path, {2: NAN}, refit=True, allow_partial=True)
        run = take_what_is_there(run, {2: NAN})
        assert (run.there, run.refitted) == ([0, 1], False)
        assert summary_of(run).partial == "refit is missing"


def summary_of(run):
    """What a run is described by, and what it was pooled from."""
    results = [run.space.read_outcome(task) for task in run.there]
    images, pooled = run.prepared.problem.images, pool(run.prepared, results)
    shift = score_corrupted(images.labels, pooled.shift)
    choice = choose(run, results, pooled, {} if shift is None else shift.flat(), 1.5)
    run.recorder.runs.folds = {str(task): f"run{task}" for task in run.there}
    said = assess(images, pooled, results)
    decided = decide(run, pooled, said, choice.chosen)[1]
    return summarise(run, results, pooled, shift, said, choice, decided)


EVERYTHING = {
    "folds": 3, "repeats": 2, "shift": "fast", "holdout": 0.15, "tta": "flips",
    "externals": ("lab2",), "choose_epoch": "crossfit", "refit": True, "allow_partial": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def partial(tmp_path_factory):
    """A run of everything whose second fold of the first repeat has failed, and its results."""
    run = ended(tmp_path_factory.mktemp("run"), {1: NAN, 6: "-"}, **EVERYTHING)
    run = take_what_is_there(run, {1: NAN})
    return run, [run.space.read_outcome(task) for task in run.there]


class TestEverything:
    def test_pooled_are_the_predictions_that_there_are_with_their_folds(self, partial):
        run, results = partial
        problem, pooled = run.prepared.problem, pool(run.prepared, results)
        whole = problem.splits.fold
        inside = int((whole[0] >= 0).sum())
        lost = int((whole[0] == 1).sum())
        assert len(pooled.ids) == 2 * inside - lost
        for repeat in (0, 1):
            own = pooled.oof.repeat == repeat
            place = {name: row for row, name in enumerate(problem.splits.ids.tolist())}
            rows = [place[name] for name in pooled.ids[own].tolist()]
            np.testing.assert_array_equal(whole[repeat][rows], pooled.oof.fold[own])
        assert not ((pooled.oof.repeat == 0) & (pooled.oof.fold == 1)).any()
        assert not ((pooled.shift.repeat == 0) & (pooled.shift.fold == 1)).any()
        assert pooled.holdout.probabilities.shape[0] == 5
        assert pooled.external["lab2"].probabilities.shape[0] == 5

    def test_candidates_are_of_the_models_that_there_are(self, partial):
        run, results = partial
        choice = choose(run, results, pool(run.prepared, results), {}, 1.0)
        assert [one.kind for one in choice.candidates] == ["best-fold", "ensemble"]
        assert choice.chosen.folders == [run.space.bundle(task) for task in (0, 2, 3, 4, 5)]
        assert all((folder / "model.json").exists() for folder in choice.chosen.folders)
        assert choice.why == "the mean of 5 of 6 folds' probabilities"
        answers = served([one.external["lab2"] for one in results], 1.0)
        np.testing.assert_allclose(choice.chosen.external["lab2"], answers, atol=1e-6)

    def test_the_best_fold_is_named_by_its_own_number(self, tmp_path):
        def better_later(problem, repeat, fold):
            return fold_of(problem, repeat, fold, skill=0.5 + 0.2 * fold)

        problem = problem_of(folds=3, candidate="best-fold", allow_partial=True)
        run, results = finished_run(tmp_path, problem, missing={0: NAN}, fold=better_later)
        choice = choose(run, results, pool(run.prepared, results), {}, 1.0)
        assert choice.chosen.folders == [run.space.bundle(2)]
        assert "the validation part of fold 3" in choice.chosen.evidence
        summary = summary_of(replace(run, recorder=Recorded()))
        assert (summary.registered.fold, summary.registered.repeat) == (2, 0)

    def test_one_fold_of_two_is_the_only_one_that_is_there(self, tmp_path):
        run, results = finished_run(tmp_path, problem_of(), missing={0: NAN})
        choice = choose(run, results, pool(run.prepared, results), {}, 1.0)
        assert (choice.chosen.kind, choice.why) == ("best-fold", "the only fold that is there")

    def test_the_summary_names_each_fold_by_its_own_run_and_what_is_missing(self, partial):
        run, results = partial
        summary = summary_of(run)
        assert [fold.name for fold in summary.folds] == [
            "repeat 1 fold 1", "repeat 1 fold 3",
            *(f"repeat 2 fold {fold}" for fold in (1, 2, 3)),
        ]  # fmt: skip
        assert [fold.mlflow_run for fold in summary.folds] == [f"run{n}" for n in (0, 2, 3, 4, 5)]
        for fold, result in zip(summary.folds, results, strict=True):
            assert (fold.repeat, fold.fold) == (result.repeat, result.fold)
        first, refit = summary.missing
        lost = int((run.prepared.problem.splits.fold[0] == 1).sum())
        assert (first.name, first.repeat, first.fold) == ("repeat 1 fold 2", 0, 1)
        assert (first.images, first.cause) == (lost, NAN)
        assert (refit.name, refit.images) == ("refit", 0)
        assert summary.partial.endswith(" predictions")
        schema = json.loads(SCHEMA.read_text())
        jsonschema.validate(summary.model_dump(mode="json"), schema)


def test_everything_that_is_left_of_a_partial_run_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = ended(tmp_path / "run", {1: NAN}, folds=3, output="out", allow_partial=True)
    run = take_what_is_there(run, {1: NAN})
    summary = finish(run)
    lost = int((run.prepared.problem.splits.fold[0] == 1).sum())
    words = f"fold 2 is missing; scores are of {64 - lost} of 64 images"
    assert summary.partial == words
    tag = f"{words} (fold 2: {NAN})"
    assert run.recorder.version.tags["crossfold.partial"] == tag
    assert run.recorder.parent["crossfold.partial"] == tag
    assert words in run.recorder.version.text
    assert f"partial   {words}" in run.recorder.parent["mlflow.note.content"]
    assert "| **2 of 3 pooled** |" in run.recorder.parent["mlflow.note.content"]
    assert words in (tmp_path / "out" / "report.html").read_text()
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["missing"][0]["cause"] == NAN
    assert len(np.load(tmp_path / "out" / "oof.npz")["ids"]) == 64 - lost


class TestAgain:
    """A run that goes on where folds had failed."""

    def given_up(self, run, *events):
        run.space.events.write_text("".join(map(to_line, events)))
        left = {task for task in range(len(run.prepared.tasks)) if not run.space.finished(task)}
        return watch._given_up(run, left)

    def test_failed_folds_are_not_tried_again_where_all_others_are_there(self, tmp_path):
        run = ended(tmp_path, {1: NAN}, folds=3, allow_partial=True)
        assert self.given_up(run, Failed(task=1, cause=NAN)) == {1: NAN}

    def test_they_are_without_the_flag(self, tmp_path):
        run = ended(tmp_path, {1: NAN}, folds=3)
        assert self.given_up(run, Failed(task=1, cause=NAN)) == {}

    def test_they_are_where_others_are_still_to_be_trained(self, tmp_path):
        run = ended(tmp_path, {1: NAN, 2: ""}, folds=3, allow_partial=True)
        assert self.given_up(run, Failed(task=1, cause=NAN)) == {}

    def test_they_are_where_no_fold_is_there(self, tmp_path):
        run = ended(tmp_path, {0: NAN, 1: NAN}, allow_partial=True)
        both = [Failed(task=task, cause=NAN) for task in (0, 1)]
        assert self.given_up(run, *both) == {}

    def test_one_that_was_under_way_again_goes_on(self, tmp_path):
        run = ended(tmp_path, {1: NAN}, folds=3, allow_partial=True)
        epoch = EpochEnded(task=1, report=run.space.read_outcome(0).history[0])
        assert self.given_up(run, Failed(task=1, cause=NAN), epoch) == {}

    def test_a_refit_that_waits_is_not_trained(self, tmp_path):
        run = ended(tmp_path, {1: NAN, 3: ""}, folds=3, refit=True, allow_partial=True)
        assert self.given_up(run, Failed(task=1, cause=NAN)) == {1: NAN}

    def test_a_refit_whose_folds_are_all_there_is_trained(self, tmp_path):
        run = ended(tmp_path, {3: ""}, folds=3, refit=True, allow_partial=True)
        assert self.given_up(run) == {}
