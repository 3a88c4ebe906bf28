"""The main job with a learning rate that breaks its network: halved twice, told, or given up."""

import re

import pytest

from tests.distributed.test_end_to_end import client_of, python
from tests.faults.interrupted import flags, points, run_folder, summary_of
from tracking.events import Failed, Retried, read_journal

pytestmark = pytest.mark.slow
SGD = ["--optimizer", "sgd", "--schedule", "constant"]
TOLD = r"fold \d: .* no finite number after epoch 1 .*; goes on from its last checkpoint with 0\.5"


def test_half_the_rate_helps_and_is_told_everywhere(tmp_path):
    ran = python(tmp_path, "distributed.cv", *flags(epochs=2, rate=24), *SGD)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    assert re.search(f"^notice: {TOLD}", ran.stdout, re.M), ran.stdout
    notices = summary_of(tmp_path)["notices"]
    assert any(re.search(TOLD, line) for line in notices)
    client = client_of(tmp_path)
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    runs = client.search_runs([experiment.experiment_id])
    tags = [run.data.tags for run in runs]
    (parent,) = [own for own in tags if own["crossfold.kind"] == "parent"]
    assert parent["crossfold.notices"].splitlines() == notices
    tried = [own for own in tags if "crossfold.retried" in own]
    assert tried
    rates, _ = points(tmp_path, "learning_rate")
    for own in tried:
        assert "0.5 of the learning rates" in own["crossfold.retried"]
        rate = 24 * 0.5 ** len(own["crossfold.retried"].splitlines())
        assert rates[own["crossfold.fold"]] == [(1, rate), (2, rate)]


def test_what_never_is_finite_fails_with_its_cause(tmp_path):
    ran = python(tmp_path, "distributed.cv", *flags(epochs=2, rate=1e30), *SGD)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    (line,) = ran.stderr.splitlines()
    assert "learning rate 1e+30 x 0.25" in line
    assert "nor did 0.25 of the learning rates help" in line
    events = read_journal(run_folder(tmp_path) / "events.jsonl")
    for task in (0, 1):
        assert sum(isinstance(e, Retried) and e.task == task for e in events) == 2
        assert sum(isinstance(e, Failed) and e.task == task for e in events) == 1
