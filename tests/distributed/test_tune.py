"""The search in a process of its own, as a user runs it, in an empty folder."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from folds.config import Config, read_yaml
from tests.distributed.test_end_to_end import client_of, environment, python
from tests.faults.faults import heed_ctrl_c

SCHEMA = Path(__file__).parents[2] / "docs" / "search.schema.json"
SPACE = """
optimizer: {choice: [adamw, sgd]}
weight_decay: {loguniform: [1e-4, 1e-1]}
rate: {loguniform: [1e-4, 3e-2]}
stages: ["1:1:{rate}"]
"""
BASE = [
    "--space", "space.yaml", "--trials", "6", "--concurrent-trials", "2", "--data", "digits",
    "--limit", "150", "--folds", "3", "--backbone", "test_resnet", "--weights", "none",
    "--batch-size", "16",
]  # fmt: skip

MORE = ["--audit-stops", "1", "--holdout", "0.2", "--shift", "off", "--output", "out"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A folder in which a search has run, with its files in `out`, and what it printed."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "space.yaml").write_text(SPACE)
    ran = python(folder, "distributed.tune", *BASE, *MORE, "--train-best")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder, ran


@pytest.fixture(scope="module")
def summary(searched):
    return json.loads((searched[0] / "out" / "search.json").read_text())


def test_the_screen_is_quiet_and_tells_every_trial(searched):
    _, ran = searched
    assert ran.stderr == ""
    assert "plan: 6 trials, 2 at a time" in ran.stdout
    assert all(f"trial {number}/6  " in ran.stdout for number in range(1, 7))
    assert "python -m distributed.cv --config out/best.yaml" in ran.stdout
    assert "\x1b" not in ran.stdout


def test_the_summary_fits_its_schema_and_adds_up(summary):
    jsonschema.validate(summary, json.loads(SCHEMA.read_text()))
    trials = {trial["number"]: trial for trial in summary["trials"]}
    assert list(trials) == [1, 2, 3, 4, 5, 6]
    whole = [trial for trial in trials.values() if trial["state"] == "complete"]
    rivals = [trial for trial in whole if not trial["audited"]]
    assert summary["winner"] == max(rivals, key=lambda trial: trial["mean"])["number"]
    assert summary["folds_without_racing"] == 18
    assert summary["folds_trained"] <= 18
    assert summary["holdout"]["images"] == pytest.approx(30, abs=3)
    assert all(trial["mean"] is None for trial in trials.values() if trial["state"] == "stopped")


def test_best_yaml_is_the_winner_for_the_main_job(searched, summary):
    folder, ran = searched
    config = Config.from_flat(read_yaml(str(folder / "out" / "best.yaml")))
    winner = summary["trials"][summary["winner"] - 1]
    assert config.optim.optimizer == winner["values"]["optimizer"]
    assert config.train.weight_decay == winner["values"]["weight_decay"]
    assert config.evaluation.shift == "off"
    assert "all pooled" in ran.stdout  # --train-best went on with it
    assert "model     crossfold version 1" in ran.stdout


def test_mlflow_has_the_search_its_trials_and_their_folds(searched, summary):
    client = client_of(searched[0])
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    runs = client.search_runs([experiment.experiment_id], max_results=200)
    by_kind = {}
    for run in runs:
        by_kind.setdefault(run.data.tags["crossfold.kind"], []).append(run)
    (search,) = by_kind["search"]
    assert search.info.status == "FINISHED"
    assert search.data.metrics["folds_trained"] == summary["folds_trained"]
    trials = {int(run.data.tags["crossfold.trial"]): run for run in by_kind["trial"]}
    assert sorted(trials) == [1, 2, 3, 4, 5, 6]
    for told in summary["trials"]:
        run = trials[told["number"]]
        assert run.data.tags["mlflow.parentRunId"] == search.info.run_id
        assert run.info.run_id == told["mlflow_run"]
        assert ("mean_score" in run.data.metrics) == (told["state"] == "complete")
        folds = [
            fold for fold in by_kind["trial fold"]
            if fold.data.tags["mlflow.parentRunId"] == run.info.run_id
        ]  # fmt: skip
        assert len(folds) == len(told["scores"])
        assert sorted(fold.data.metrics["score"] for fold in folds) == sorted(told["scores"])
    (parent,) = by_kind["parent"]  # that of the main job, and of nothing else
    assert parent.data.params["optimizer"] == trials[summary["winner"]].data.params["optimizer"]
    files = {file.path for file in client.list_artifacts(search.info.run_id)}
    assert {"best.yaml", "search.json", "report.html"} <= files


def test_nothing_is_left_behind(searched):
    assert sorted(path.name for path in searched[0].iterdir()) == [
        "mlflow.db", "mlruns", "out", "space.yaml",
    ]  # fmt: skip


@pytest.mark.slow
def test_killed_and_resumed_it_finds_the_same(searched, summary, tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    with subprocess.Popen(
        [sys.executable, "-m", "distributed.tune", *BASE, *MORE],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        for line in process.stdout:
            if line.startswith("trial 3/6"):
                os.kill(process.pid, signal.SIGKILL)
                break
    again = python(tmp_path, "distributed.tune", "--resume")
    assert again.returncode == 0, again.stderr
    resumed = json.loads((tmp_path / "out" / "search.json").read_text())
    for key in ("winner", "best", "naive", "corrected", "holdout", "folds_trained"):
        assert resumed[key] == summary[key], key
    assert [t["scores"] for t in resumed["trials"]] == [t["scores"] for t in summary["trials"]]
    client = client_of(tmp_path)
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    names = [run.info.run_name for run in client.search_runs([experiment.experiment_id])]
    assert len(names) == len(set(names))  # none was written twice


@pytest.mark.slow
def test_two_at_once_in_one_folder_find_what_one_finds(searched, summary):
    folder, _ = searched
    flags = [*BASE, *MORE[:-1]]
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "distributed.tune", *flags, name],
            cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "other")
    ]  # fmt: skip
    assert [process.communicate()[1] for process in both] == ["", ""]
    for name in ("one", "other"):
        found = json.loads((folder / name / "search.json").read_text())
        for key in ("winner", "best", "naive", "corrected", "folds_trained"):
            assert found[key] == summary[key], key


def test_ctrl_c_says_what_is_best_so_far_and_how_to_go_on(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    with subprocess.Popen(
        [sys.executable, "-m", "distributed.tune", *BASE],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=heed_ctrl_c,
    ) as process:  # fmt: skip
        before = []
        for line in process.stdout:
            before.append(line)
            if line.startswith("trial 2/6"):
                process.send_signal(signal.SIGINT)
                break
        rest, told = process.communicate()
    assert process.returncode == 130, "".join(before) + rest + told
    assert told.count("\n") == 1
    assert "interrupted: best so far trial" in told
    assert "to go on: python -m distributed.tune --resume search-" in told
    refused = python(tmp_path, "distributed.tune", "--resume", "--trials", "9")
    assert refused.returncode == 2
    assert "--trials: --resume search-" in refused.stderr
    assert "Traceback" not in rest


def test_backbones_are_ranked_and_the_best_of_them_searched(tmp_path):
    ran = python(
        tmp_path, "distributed.tune", "--backbones",
        "test_resnet=none,test_efficientnet=none,test_vit", "--finetune", "2", "--data", "digits",
        "--limit", "150", "--folds", "3", "--stages", "1:1:1e-2", "--batch-size", "16", "--output",
        "out",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "test_vit is left out: --weights hub: no pretrained test_vit" in ran.stdout
    ranked = json.loads((tmp_path / "out" / "backbones.json").read_text())
    assert {one["name"] for one in ranked} == {"test_resnet=none", "test_efficientnet=none"}
    summary = json.loads((tmp_path / "out" / "search.json").read_text())
    tried = [trial["values"]["network"] for trial in summary["trials"]]
    assert sorted(one["backbone"] for one in tried) == ["test_efficientnet", "test_resnet"]
    assert summary["winner"] is not None


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "--space: what shall be varied?"),
        (["--space", "haed"], "--space haed: .*nearest: head"),
        (["--space", "broken.yaml"], "--space broken.yaml: not YAML"),
        (["--space", "head", "--trials", "0"], "--trials 0: must be from 1"),
        (["--space", "head", "--search-by", "macro"], "--search-by macro: no score 'macro'"),
        (["--space", "head", "--time-budget", "soon"], "--time-budget soon: must be a time"),
        (["--space", "head", "--outer-folds", "1"], "--outer-folds 1: must be 2 or more"),
        (["--space", "head", "--outer-folds", "3", "--holdout", "0.2"],
         "--outer-folds 3 with --holdout: leave one"),
        (["--space", "head", "--outer-folds", "3", "--search-by", "shift.macro_f1"],
         "shift.macro_f1 is not measured on outer folds"),
        (["--space", "head", "--sampler", "grid", "--weights", "none", "--data", "digits"],
         "head_dropout.*a grid takes choice or int"),
        (["--resume"], "--resume: no interrupted search"),
        (["--space", "head", "--folds", "1"], "--folds 1"),
        (["--finetune", "2"], "--finetune 2: of which?"),
        (["--backbones", "test_vit", "--space", "head"], "--space with --backbones: leave one"),
        (["--backbones", "test_vit", "--finetune", "1"], "--finetune 1: must be 2 or more"),
        (["--backbones", "test_vitt"], "test_vitt.*nearest: test_vit"),
        (["--backbones", "test_vit=none", "--train-best"], "--train-best with --backbones: needs"),
        (["--space", "head", "--search-by", "external.lab.macro_f1"],
         "there is no --external lab=SOURCE"),
    ],
)  # fmt: skip
def test_bad_input_is_told_in_one_line(tmp_path, argv, says):
    (tmp_path / "broken.yaml").write_text("a: [")
    ran = python(tmp_path, "distributed.tune", *argv)
    assert ran.returncode == 2, ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert re.search(says, ran.stderr), ran.stderr
    assert not (tmp_path / ".crossfold").exists()


@pytest.mark.slow
def test_each_outer_fold_is_scored_by_a_search_that_has_not_seen_it(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    ran = python(
        tmp_path, "distributed.tune", *BASE, "--outer-folds", "2", "--output", "out"
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    summary = json.loads((tmp_path / "out" / "search.json").read_text())
    assert [fold["images"] for fold in summary["outer"]] == [75, 75]
    assert all(1 <= fold["trial"] <= 6 for fold in summary["outer"])
    assert summary["outer_score"]["low"] < summary["outer_score"]["value"]
    assert "outer fold 2: trial 6/6" in ran.stdout
