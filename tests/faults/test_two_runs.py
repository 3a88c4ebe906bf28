"""Two commands at once in one folder, with one database and one cache."""

import pytest

from tests.distributed.test_end_to_end import client_of, python
from tests.faults.interrupted import (
    epochs,
    flags,
    interrupt,
    points,
    scores_of,
    started,
    wait_for,
)

pytestmark = pytest.mark.slow


def test_two_runs_at_once_find_what_each_finds_alone(tmp_path):
    """Both find no database, no cache and no folder, and make them."""
    both = [started(tmp_path, *flags(epochs=2, output=name)) for name in ("one", "other")]
    told = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert [errors for _, errors in told] == ["", ""]
    (tmp_path / "alone").mkdir()
    ran = python(tmp_path / "alone", "distributed.cv", *flags(epochs=2))
    assert ran.returncode == 0, ran.stderr
    truth = scores_of(tmp_path / "alone", "out")
    assert scores_of(tmp_path, "one") == scores_of(tmp_path, "other") == truth
    client = client_of(tmp_path)
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 6
    assert {run.info.status for run in runs} == {"FINISHED"}
    versions = client.search_model_versions("name = 'crossfold'")
    assert sorted(int(version.version) for version in versions) == [1, 2]
    assert not (tmp_path / ".crossfold").exists()


def test_of_two_that_resume_one_run_the_second_is_refused(tmp_path):
    folder = interrupt(tmp_path, lambda: len(epochs(tmp_path, 0)) > 1, *flags(epochs=20))
    before = len(epochs(tmp_path, 0))
    with started(tmp_path, "--resume", folder.name) as first:
        wait_for(lambda: len(epochs(tmp_path, 0)) > before, first)
        for name in ("latest", folder.name):
            second = python(tmp_path, "distributed.cv", "--resume", name)
            assert second.returncode == 2, second.stdout
            assert second.stderr.count("\n") == 1
            assert "no interrupted run in" in second.stderr
        out, told = first.communicate(timeout=200)
    assert (first.returncode, told) == (0, ""), out
    found, runs = points(tmp_path)
    assert runs == 2
    for steps in ([step for step, _ in some] for some in found.values()):
        assert steps == list(range(1, 21))
