"""`slurm.sbatch` run as Slurm would run it, on two nodes that are both this machine.

`srun` and `scontrol` are stand-ins; Ray, its two nodes and the job are real.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.distributed.test_end_to_end import BASE, client_of, environment

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SRUN = """#!/usr/bin/env bash
# runs a command once a node of --nodelist; a signal goes to all processes, as srun's do
for word; do
  [[ $word == --* ]] || break
  echo "$word" >> "$SLURM_CALLS"
  [[ $word != --nodelist=* ]] || list=${word#*=}
  shift
done
tasks=()
for node in ${list//,/ }; do
  SLURM_PROCID=${#tasks[@]} SLURMD_NODENAME=$node setsid "$@" &
  tasks+=($!)
done
trap 'for task in "${tasks[@]}"; do kill -TERM -- "-$task"; done' TERM
for task in "${tasks[@]}"; do
  while wait "$task"; kill -0 "$task" 2> /dev/null; do :; done
done
"""
SCONTROL = """#!/usr/bin/env bash
case $1 in
  show) printf 'node1\\nnode2\\n' ;;
  requeue) echo "requeue $2" >> "$SLURM_CALLS" ;;
esac
"""
FLAGS = [
    *BASE, "--stages", "1:8:1e-3", "--shift", "off", "--audit", "off", "--output", "out",
    "--concurrent-folds", "2",
]  # fmt: skip


class Slurm:
    """Runs the script as the batch shell of a job's first node."""

    def __init__(self, folder, scratch):
        self.folder, self.scratch, self.calls = folder, scratch, folder / "calls"
        self.calls.touch()
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)

    def start(self, *flags, restarts=0):
        paths = (self.bin, Path(sys.executable).parent, os.environ["PATH"])
        variables = {
            "PATH": ":".join(map(str, paths)), "PYTHONPATH": str(ROOT),
            "SLURM_CALLS": str(self.calls), "SLURM_SUBMIT_DIR": str(ROOT), "SLURM_JOB_ID": "4711",
            "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "node[1-2]",
            "SLURMD_NODENAME": "node1", "SLURM_CPUS_ON_NODE": "1", "SLURM_CPUS_PER_TASK": "1",
            "SLURM_RESTART_COUNT": str(restarts), "CROSSFOLD_FOLDER": str(self.folder / "run"),
            "CROSSFOLD_SCRATCH": str(self.scratch), "CROSSFOLD_PATIENCE_S": "120",
        }  # fmt: skip
        return subprocess.Popen(
            ["bash", str(ROOT / "deploy" / "slurm.sbatch"), *flags], cwd=self.folder, text=True,
            env=environment() | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip

    def end(self, process):
        """Exit status and output."""
        try:
            out, told = process.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            process.kill()
            out, told = process.communicate()
            pytest.fail(f"it hangs: {out}{told}")
        return process.returncode, out + told

    def left(self):
        """Processes of the job that are still there, and its files on the nodes."""
        alive = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"CROSSFOLD_SCRATCH={self.scratch}".encode() in path.read_bytes():
                    alive.append(int(path.parent.name))
        return alive, list(self.scratch.iterdir())


@pytest.fixture
def slurm(tmp_path):
    scratch = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp"))  # short, as on a node
    made = Slurm(tmp_path, scratch)
    yield made
    for pid in made.left()[0]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(scratch)


def summary_of(slurm):
    return json.loads((slurm.folder / "run" / "out" / "summary.json").read_text())


def test_two_nodes_train_two_folds_and_nothing_is_left_on_them(slurm):
    status, told = slurm.end(slurm.start(*FLAGS))
    assert status == 0, told
    assert summary_of(slurm)["lanes"] == 2  # of one core each: one on each node
    asked = slurm.calls.read_text().split()
    assert asked == [
        "--nodelist=node2", "--nodes=1", "--ntasks-per-node=1", "--cpus-per-task=1",
        "--kill-on-bad-exit=0",
    ]  # fmt: skip
    assert slurm.left() == ([], [])


def test_a_job_that_is_stopped_is_queued_again_and_goes_on_in_the_same_runs(slurm):
    process, told = slurm.start(*FLAGS), []
    for line in process.stdout:
        told.append(line)
        if "epoch 2/8" in line:
            process.send_signal(signal.SIGTERM)
            break
    else:
        pytest.fail("".join(told) + process.stderr.read())
    status, rest = slurm.end(process)
    assert status == 143, "".join(told) + rest
    assert "Traceback" not in rest
    assert slurm.calls.read_text().split("\n")[-2] == "requeue 4711"
    assert slurm.left() == ([], [])
    client = client_of(slurm.folder / "run")
    experiment = client.get_experiment_by_name("crossfold").experiment_id
    before = {run.info.run_id for run in client.search_runs([experiment])}

    status, out = slurm.end(slurm.start(*FLAGS, restarts=1))
    assert status == 0, out
    runs = client.search_runs([experiment])
    assert before <= {run.info.run_id for run in runs}
    assert len(runs) == 3
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(summary_of(slurm)["folds"]) == 2
    assert slurm.left() == ([], [])


def test_without_ray_it_ends_in_one_line_and_is_not_queued_again(slurm):
    (slurm.bin / "ray").write_text("#!/bin/sh\necho no such thing\nexit 3\n")
    (slurm.bin / "ray").chmod(0o755)
    status, told = slurm.end(slurm.start(*FLAGS))
    assert (status, told) == (1, "failed: Ray does not start: no such thing\n")
    assert "requeue" not in slurm.calls.read_text()
    assert slurm.left() == ([], [])
