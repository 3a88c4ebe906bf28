"""Damaged files of every kind are read or refused in one line, soon, in little memory, and no more.

The inputs of the fast test are always the same; `make fuzz` tries 10,000 a reader.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.readers import readers

ROOT = Path(__file__).parents[2]
NAMES = list(readers())
FEW, MANY, PIECE = 60, 10_000, 2500
PATIENCE_S = 60  # without a reader's end a process hangs: each input may take 5 s of a processor


def fuzz(folder, count, seed, *names):
    """Run a process of `tests.fuzz.worker`; what it found, by reader."""
    changed = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "HOME": str(folder), "TMPDIR": str(folder), "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.worker", str(count), str(seed), *names],
        cwd=folder, env=kept | changed, capture_output=True, text=True,
        timeout=PATIENCE_S * (count // 100 + 5),
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{lines[-1:]} {done.returncode} {done.stderr[-2000:]}"
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return {one["reader"]: one for one in found}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return fuzz(tmp_path_factory.mktemp("fuzz"), FEW, 0)


@pytest.mark.parametrize("name", NAMES)
def test_some_damaged_files_are_read_or_refused(found, name):
    assert found[name]["sound"], "what is not damaged is refused"
    assert found[name]["inputs"] > FEW // 2
    assert found[name]["failures"] == []


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", NAMES)
def test_many_damaged_files_are_read_or_refused(tmp_path, name):
    inputs, failures = 0, []
    for seed in range(MANY // PIECE):
        (folder := tmp_path / str(seed)).mkdir()
        piece = fuzz(folder, PIECE, seed, name)[name]
        inputs, failures = inputs + piece["inputs"], failures + piece["failures"]
        print(json.dumps(piece))
    assert failures == []
    assert inputs >= MANY


def test_the_watch_sees_what_no_reader_may_do(tmp_path):
    """A test of the test: reading that unpickles, runs or writes elsewhere is a failure."""
    (tmp_path / "inside").mkdir()
    code = """
import os, pathlib, pickle, subprocess, sys, types
from tests.fuzz.worker import Fuzz, Watch
from tests.fuzz.readers import Reader
watch = Watch(os.getcwd())
for read in (
    lambda folder: os.system("true"),
    lambda folder: subprocess.run(["true"]),
    lambda folder: pickle.loads(pickle.dumps(pathlib.PurePath)),
    lambda folder: open("../outside", "w"),
    lambda folder: os.mkdir("../folder"),
    lambda folder: 1 / 0,
    lambda folder: open("within", "w").close(),
):
    one = Fuzz(Reader("x", b"", None, read, {}), pathlib.Path("it").absolute(), watch)
    one.try_one(b"")
    print(list(one.failures.values()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "inside", capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = done.stdout.splitlines()
    words = ["os.system", "subprocess.Popen", "pickle.find_class", "outside", "os.mkdir", "ZeroDiv"]
    for line, word in zip(seen, words, strict=False):
        assert word in line
    assert seen[-1] == "[]"
