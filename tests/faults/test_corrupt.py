"""Files of an interrupted run that are damaged: found, told, and made good."""

import re
import shutil

import pytest

from tests.distributed.test_end_to_end import python
from tests.faults.interrupted import (
    epochs,
    finished,
    flags,
    interrupt,
    points,
    run_folder,
    scores_of,
    summary_of,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """A folder in which the job ran undisturbed."""
    folder = tmp_path_factory.mktemp("calm")
    ran = python(folder, "distributed.cv", *flags())
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """A folder in which the job was interrupted, one fold finished and one under way."""
    folder = tmp_path_factory.mktemp("cut")
    interrupt(folder, lambda: finished(folder, 0) and len(epochs(folder, 1)) > 2, *flags())
    return folder


def changed(path):
    """Change a byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def emptied(path):
    path.write_bytes(b"")


def torn(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BEGINS = "damaged, its checksum is another; the fold begins again"
DAMAGES = {
    "checkpoint": ([(changed, "fold-1/checkpoint.pt")], "fold 2: .*; the one before is used"),
    "checkpoints": (
        [(torn, "fold-1/checkpoint.pt"), (emptied, "fold-1/checkpoint.before.pt")],
        f"fold 2: .*{BEGINS}",
    ),
    "predictions": ([(changed, "fold-0/result.npz")], f"fold 1: .*result.npz: {BEGINS}"),
    "scores": ([(changed, "fold-0/result.json")], f"fold 1: .*result.json: {BEGINS}"),
    "model": (
        [(changed, "fold-0/bundle/model.safetensors")], f"fold 1: .*model.safetensors: {BEGINS}"
    ),
    "journal": ([(changed, "events.jsonl")], "1 line of the run's journal damaged"),
    "end of the journal": ([(torn, "events.jsonl")], "lines of the run's journal damaged"),
    "small files": (
        [(emptied, "run.json"), (changed, "runtime.json"), (torn, "mlflow.json")], None
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_goes_on_and_ends_as_if_nothing_had_been(calm, cut, tmp_path, damage):
    shutil.copytree(cut, tmp_path / "run")
    folder, (files, notice) = tmp_path / "run", DAMAGES[damage]
    for spoil, name in files:
        spoil(run_folder(folder) / name)
    ran = python(folder, "distributed.cv", "--resume")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    notices = [line for line in ran.stdout.splitlines() if line.startswith("notice: ")]
    if notice is not None:
        assert any(re.search(notice, line) for line in notices), ran.stdout
        assert any(re.search(notice, line) for line in summary_of(folder)["notices"])
    assert scores_of(folder) == scores_of(calm)
    (found, runs), (truth, _) = points(folder), points(calm)
    assert runs == 2
    assert {name: sorted(some) for name, some in found.items()} == truth
