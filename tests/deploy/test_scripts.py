"""The shell scripts: linted, and what `start.sh` calls."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.tools import tool

ROOT = Path(__file__).parents[2]
SCRIPTS = ["start.sh", "slurm.sbatch"]
SHOW = '#!/bin/sh\necho "$PWD: $*"\n'


def linted(path):
    return subprocess.run([tool("shellcheck"), str(path)], capture_output=True, text=True)


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing(name):
    found = linted(ROOT / "deploy" / name)
    assert found.returncode == 0, found.stdout


def test_shellcheck_is_alive(tmp_path):
    text = (ROOT / "deploy" / "start.sh").read_text()
    (tmp_path / "start.sh").write_text(text.replace('"$CROSSFOLD_FOLDER"', "$CROSSFOLD_FOLDER"))
    assert "SC2086" in linted(tmp_path / "start.sh").stdout


def start(folder, *flags):
    """What `start.sh` runs in place of python, and where."""
    bin_ = folder / "bin"
    bin_.mkdir(exist_ok=True)
    (bin_ / "python").write_text(SHOW)
    (bin_ / "python").chmod(0o755)
    run = folder / "run"
    variables = {"PATH": f"{bin_}:{os.environ['PATH']}", "CROSSFOLD_FOLDER": str(run)}
    ran = subprocess.run(
        [ROOT / "deploy" / "start.sh", *flags], env=os.environ | variables, capture_output=True,
        text=True, cwd=folder,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    where, _, words = ran.stdout.strip().partition(": ")
    assert Path(where) == run
    return words


class TestStart:
    def test_a_run_begins_with_its_flags(self, tmp_path):
        flags = ["--data", "cells.npz", "--folds", "5"]
        assert start(tmp_path, *flags) == "-m distributed.cv --data cells.npz --folds 5"

    def test_an_interrupted_one_goes_on_with_its_own(self, tmp_path):
        space = tmp_path / "run" / ".crossfold" / "resnet-1"
        space.mkdir(parents=True)
        assert start(tmp_path, "--folds", "5") == "-m distributed.cv --folds 5"  # nothing is begun
        (space / "run.json").touch()
        assert start(tmp_path, "--folds", "5") == "-m distributed.cv --resume latest"


def options():
    """The script's ``#SBATCH`` lines: options with their values."""
    text = (ROOT / "deploy" / "slurm.sbatch").read_text()
    found = re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", text, re.MULTILINE)
    assert len(found) == text.count("\n#SBATCH")
    return dict(found)


class TestSlurm:
    def test_its_options_are_before_its_first_command_where_slurm_reads_them(self):
        lines = (ROOT / "deploy" / "slurm.sbatch").read_text().splitlines()
        first = next(n for n, line in enumerate(lines) if line and not line.startswith("#"))
        assert max(n for n, line in enumerate(lines) if line.startswith("#SBATCH")) < first

    def test_a_signal_comes_in_time_and_the_job_may_be_queued_again(self):
        assert options()["signal"] == "B:TERM@60"
        assert "requeue" in options()
        assert options()["open-mode"] == "append"
        assert options()["ntasks-per-node"] == "1"

    def test_no_port_is_fixed(self):
        text = (ROOT / "deploy" / "slurm.sbatch").read_text()
        ports = re.findall(r"--[\w-]*port[\w-]*=(\S+?)\)?\s", text)
        assert len(ports) == 7
        assert set(ports) == {"0"}

    def test_every_option_of_ray_that_it_gives_is_one(self):
        text = (ROOT / "deploy" / "slurm.sbatch").read_text()
        shown = subprocess.run(
            [Path(sys.executable).parent / "ray", "start", "--help"], capture_output=True, text=True
        ).stdout
        asked = set(re.findall(r"(--[\w-]+)=", re.sub(r"srun.*?bash", "", text, flags=re.DOTALL)))
        asked = {word for word in asked if not re.search(rf"#SBATCH {word}", text)}
        assert {"--port", "--num-cpus", "--metrics-export-port"} <= asked
        assert not [word for word in sorted(asked) if f"{word} " not in shown]
