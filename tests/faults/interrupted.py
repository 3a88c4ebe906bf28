"""Main jobs that are interrupted at a place of their journal, and what became of them."""

import contextlib
import json
import signal
import subprocess
import sys
import time

from tests.distributed.test_end_to_end import client_of, environment
from tests.faults.faults import heed_ctrl_c
from tracking.events import EpochEnded, Finished, read_journal


def flags(*more, epochs=8, rate=1e-3, output="out", backbone="test_resnet", batch=16):
    """A job of two folds, one after the other."""
    return [
        "--folds", "2", "--backbone", backbone, "--weights", "none", "--batch-size", str(batch),
        "--stages", f"1:{epochs}:{rate}", "--concurrent-folds", "1", "--shift", "off",
        "--precision", "fp32", "--output", output, "--patience", "40",
        *(more or ("--data", "digits", "--limit", "120")),
    ]  # fmt: skip


def started(folder, *argv, program=("-m", "distributed.cv")):
    """The main job in a process of its own."""
    return subprocess.Popen(
        [sys.executable, *program, *argv], cwd=folder, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_ctrl_c,
    )  # fmt: skip


def run_folder(folder):
    """The folder of the one run that is there."""
    (found,) = (folder / ".crossfold").iterdir()
    return found


def wait_for(condition, process):
    """Wait until something holds, for as long as the process lives and two minutes at most."""
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError, ValueError):  # the folder is not there yet
            if condition():
                return
        time.sleep(0.01)
    process.kill()
    out, told = process.communicate()
    raise AssertionError(f"what was waited for did not come: {out}{told}")


def epochs(folder, task):
    """Epochs of a fold in the journal."""
    events = read_journal(run_folder(folder) / "events.jsonl")
    return [e.report.epoch for e in events if isinstance(e, EpochEnded) and e.task == task]


def finished(folder, task):
    """Whether a fold is finished by the journal."""
    events = read_journal(run_folder(folder) / "events.jsonl")
    return any(isinstance(e, Finished) and e.task == task for e in events)


def interrupt(folder, condition, *argv):
    """Run the main job until a condition holds, then press Ctrl-C; the run's folder."""
    with started(folder, *argv) as process:
        wait_for(condition, process)
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=60)
    assert process.returncode == 130, out + told
    return run_folder(folder)


def summary_of(folder, output="out"):
    """What came out."""
    return json.loads((folder / output / "summary.json").read_text())


def scores_of(folder, output="out"):
    """The scores that must not change, whatever happens to a run on its way."""
    summary = summary_of(folder, output)
    return summary["oof"], [fold["scores"] for fold in summary["folds"]]


def points(folder, metric="val_loss"):
    """Steps and values of a metric in MLflow by the fold's name, and how many folds' runs."""
    client = client_of(folder)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return {
        run.data.tags["crossfold.fold"]: [
            (point.step, point.value)
            for point in client.get_metric_history(run.info.run_id, metric)
        ]
        for run in runs
        if run.data.tags.get("crossfold.kind") == "fold"
    }, len([run for run in runs if run.data.tags.get("crossfold.kind") == "fold"])
