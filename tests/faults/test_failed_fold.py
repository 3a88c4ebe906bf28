"""A fold fails for good: its worker is killed too often, or its loss is not finite."""

import json
import os
import re
import signal
import subprocess
import sys

import jsonschema
import numpy as np
import psutil
import pytest

from tests.distributed.test_end_to_end import BASE, SCHEMA, client_of, environment, python

pytestmark = pytest.mark.slow

FLAGS = [
    *BASE, "--folds", "3", "--stages", "1:6:1e-3", "--shift", "off", "--audit", "off",
    "--concurrent-folds", "1", "--max-failures", "0", "--output", "out",
]  # fmt: skip
LOST = "workers were lost"


def killed(folder, *flags):
    """The end of a run whose worker is killed in the middle of its second fold."""
    process = subprocess.Popen(
        [sys.executable, "-m", "distributed.cv", *FLAGS, *flags], cwd=folder, env=environment(),
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.match(r"fold 2 .*epoch 2/6", line):
            (worker,) = [
                child.pid
                for child in psutil.Process(process.pid).children(recursive=True)
                if "".join(child.cmdline()).startswith("ray::RayTrainWorker")
            ]
            os.kill(worker, signal.SIGKILL)
    process.wait(timeout=120)
    out, told = "".join(lines), process.stderr.read()
    assert LOST in out, out + told
    return process.returncode, out, told


def runs_of(client):
    """Runs by what they are called: parent, fold 1, fold 2, ..."""
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return {run.data.tags.get("crossfold.fold", "parent"): run for run in client.search_runs(ids)}


def check_failed(client):
    """The fold that failed says so, and why; the others are whole."""
    runs = runs_of(client)
    status = {name: run.info.status for name, run in runs.items() if name != "parent"}
    assert status == {"fold 1": "FINISHED", "fold 2": "FAILED", "fold 3": "FINISHED"}
    assert LOST in runs["fold 2"].data.tags["crossfold.cause"]
    return runs


def test_the_others_finish_nothing_is_averaged_and_the_same_command_goes_on(tmp_path):
    status, out, told = killed(tmp_path)
    assert status == 1, out + told
    assert re.search(r"fold 1 +│ +6/6 │ +0\.\d{3} ", out)
    assert re.search(r"fold 2 +│ missing │ +- ", out)
    assert re.search(r"fold 3 +│ +6/6 │ +0\.\d{3} ", out)
    assert "pooled" not in out
    assert re.fullmatch(
        rf"failed: fold 2: .*{LOST}.*; 2 of 3 folds are finished, nothing is averaged or "
        r"registered \(with --allow-partial the run ends with what is there\); to go on: python -m "
        r"distributed\.cv --resume test_resnet-\S+\n", told,
    ), told  # fmt: skip
    client = client_of(tmp_path)
    assert check_failed(client)["parent"].info.status == "FAILED"
    assert client.search_registered_models() == []
    assert not (tmp_path / "out").exists()

    again = python(tmp_path, "distributed.cv", "--resume", "--concurrent-folds", "2")
    assert again.returncode == 0, again.stdout + again.stderr
    runs = runs_of(client)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert "crossfold.cause" not in runs["fold 2"].data.tags
    assert len(client.search_runs([runs["parent"].info.experiment_id])) == 4
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (len(summary["folds"]), summary["missing"]) == (3, [])


def test_with_allow_partial_the_run_ends_with_the_folds_that_are_there_and_says_so(tmp_path):
    status, out, told = killed(tmp_path, "--allow-partial")
    assert (status, told) == (0, ""), out + told
    assert "notice: --allow-partial: 2 of 3 folds are finished" in out
    words = "fold 2 is missing; scores are of 80 of 120 images"
    check_partial(tmp_path, out, words)
    promoted = python(tmp_path, "tracking.promote")
    assert promoted.returncode == 0, promoted.stderr
    said = " ".join(promoted.stdout.split())
    assert f"notice: version 1 is of a run with missing folds: {words}" in said


def test_it_may_be_allowed_afterwards_and_the_fold_is_not_tried_again(tmp_path):
    assert killed(tmp_path)[0] == 1
    ran = python(tmp_path, "distributed.cv", "--resume", "--allow-partial")
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr
    assert "notice: --allow-partial: not tried again, since it failed before: fold 2" in ran.stdout
    assert "fold 2  epoch" not in ran.stdout
    check_partial(tmp_path, ran.stdout, "fold 2 is missing; scores are of 80 of 120 images")


def check_partial(folder, out, words):
    """Whatever is left of the run says what is missing."""
    assert f"partial   {words}" in out
    assert "2 of 3 pooled" in out
    summary = json.loads((folder / "out" / "summary.json").read_text())
    jsonschema.validate(summary, json.loads(SCHEMA.read_text()))
    (missing,) = summary["missing"]
    assert (missing["fold"], missing["images"]) == (1, 40)
    assert LOST in missing["cause"]
    oof = np.load(folder / "out" / "oof.npz")
    assert len(oof["ids"]) == 80
    right = (oof["probabilities"].argmax(axis=1) == oof["labels"]).mean()
    assert summary["oof"]["accuracy"] == pytest.approx(right)
    assert words in (folder / "out" / "report.html").read_text()
    client = client_of(folder)
    parent = check_failed(client)["parent"]
    assert parent.info.status == "FINISHED"
    version = client.get_model_version("crossfold", "1")
    for tags in (parent.data.tags, version.tags):
        assert tags["crossfold.partial"].startswith(words)
        assert LOST in tags["crossfold.partial"]
    assert words in version.description
    assert not (folder / ".crossfold").exists()


def test_a_run_of_which_no_fold_is_left_fails_whatever_is_allowed(tmp_path):
    rate = "1:1:1e30"  # that diverges when it has been halved, too
    ran = python(
        tmp_path, "distributed.cv", *BASE, "--stages", rate, "--shift", "off", "--allow-partial"
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "pooled" not in ran.stdout
    assert ran.stderr.startswith("failed: all folds have failed: fold 1: ")
    assert ran.stderr.count("\n") == 1
    assert "no finite" in ran.stderr or "nan" in ran.stderr or "inf" in ran.stderr
    client = client_of(tmp_path)
    assert {run.info.status for run in runs_of(client).values()} == {"FAILED"}
    assert client.search_registered_models() == []
