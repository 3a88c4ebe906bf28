"""The main job whose networks have no room for a whole batch: the allocator refuses, for real."""

import re
from pathlib import Path

import pytest

from tests.distributed.test_end_to_end import client_of, python
from tests.faults.interrupted import flags, points, started, summary_of

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[2]
LIMITED = """
import sys
sys.path.append({repository!r})
from distributed import cv
from distributed.lanes import lane
from folds import cli
from tests.distributed.lanes.test_attempts import with_room_for
lane._work = with_room_for({images})
cv.leave(cli.run(cv.main))
"""


def limited(folder, images, *argv):
    """Run the main job with room for so many images at once."""
    code = LIMITED.format(repository=str(REPOSITORY), images=images)
    with started(folder, *argv, program=("-c", code)) as process:
        out, told = process.communicate(timeout=240)
    return process.returncode, out, told


def test_batches_are_cut_and_the_scores_stay(tmp_path):
    (tmp_path / "calm").mkdir()
    argv = flags(epochs=2, backbone="test_vit", batch=48)
    calm = python(tmp_path / "calm", "distributed.cv", *argv)
    assert calm.returncode == 0, calm.stderr
    status, out, told = limited(tmp_path, 30, *argv)
    assert (status, told) == (0, ""), out
    line = r"fold \d: out of memory \(RuntimeError: .*\); goes on .* each batch of 48 computed in 2"
    assert re.search(f"^notice: {line}", out, re.M), out
    assert any(re.search(line, notice) for notice in summary_of(tmp_path)["notices"])
    for name, value in summary_of(tmp_path / "calm")["oof"].items():
        if isinstance(value, float):
            assert summary_of(tmp_path)["oof"][name] == pytest.approx(value, abs=1e-3), name
    client = client_of(tmp_path)
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    tags = [run.data.tags for run in client.search_runs([experiment.experiment_id])]
    assert any("computed in 2 parts" in own.get("crossfold.retried", "") for own in tags)
    found, runs = points(tmp_path)
    assert runs == 2
    assert all([step for step, _ in some] == [1, 2] for some in found.values())
