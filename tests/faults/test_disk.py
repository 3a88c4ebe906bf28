"""The disk fills up, or may not be written: one line, nothing half-written, and --resume goes on.

The file systems are small ones in a mount namespace that the test holds; what is in them is seen
through ``/proc``.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from tests.distributed.test_end_to_end import BASE, client_of, environment
from tests.faults.faults import PATIENCE_S, recorded_once, wait
from tests.servers import QUIET
from tracking.events import EpochEnded, read_journal

pytestmark = pytest.mark.slow
EPOCHS = 6
RUN = [
    *BASE, "--stages", f"1:{EPOCHS}:1e-3", "--shift", "off", "--audit", "off", "--candidate",
    "best-fold", "--output", "out", "--concurrent-folds", "1",
]  # fmt: skip
HOLD = "mount --make-rprivate /; echo there; exec sleep infinity"


class Disks:
    """A mount namespace of its own, in which commands run in a folder."""

    def __init__(self, folder):
        self.folder = folder
        if shutil.which("unshare") is None or os.geteuid() != 0:
            pytest.skip("no right to mount (unshare -m)")
        self._holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", HOLD], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip
        if self._holder.stdout.readline() != "there\n":
            pytest.skip("no right to mount (unshare -m)")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._holder.kill()
        self._holder.wait()

    def words(self, *argv):
        """A command line that runs in the namespace and the folder."""
        there = ["sh", "-c", 'cd "$0" && exec "$@"', str(self.folder)]
        return ["nsenter", "-t", str(self._holder.pid), "-m", *there, *argv]

    def do(self, *argv):
        """Run a command there."""
        subprocess.run(self.words(*argv), check=True, capture_output=True)

    def mount(self, name, size):
        """Mount a small file system on a folder."""
        (self.folder / name).mkdir(exist_ok=True)
        self.do("mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(self.folder / name))

    def seen(self, name="."):
        """Where the test sees a folder as the commands do."""
        return Path(f"/proc/{self._holder.pid}/root{self.folder}/{name}")

    def fill(self, name):
        """Use up all room of a file system."""
        there = self.seen(name)
        with (there / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 2**12)

    def empty(self, name):
        """Make room again."""
        (self.seen(name) / "filler").unlink()

    def python(self, module, *argv):
        """Run a command to its end."""
        return subprocess.run(
            self.words(sys.executable, "-m", module, *argv), text=True, capture_output=True,
            env=environment() | QUIET, timeout=300, check=False,
        )  # fmt: skip

    def job(self, *argv):
        """Start the main job; its output goes to files."""
        out, err = (self.folder / name for name in ("stdout", "stderr"))
        return subprocess.Popen(
            self.words(sys.executable, "-m", "distributed.cv", *argv), env=environment() | QUIET,
            stdout=out.open("w"), stderr=err.open("w"),
        )  # fmt: skip

    @property
    def space(self):
        """The folder of the run, as the test sees it."""
        return max(self.seen(".crossfold").glob("*/run.json")).parent

    def journal(self):
        found = max(self.seen(".crossfold").glob("*/events.jsonl"), default=None)
        return [] if found is None else read_journal(found)


@pytest.fixture
def disks(tmp_path):
    with Disks(tmp_path) as made:
        yield made


def until(disks, process, kind, count=1):
    """Wait for the so-manieth event of a kind."""

    def there():
        assert process.poll() is None, (disks.folder / "stderr").read_text()
        return sum(isinstance(event, kind) for event in disks.journal()) >= count

    wait(there, None, f"no {kind.__name__}")


def failed(disks, process, full=None):
    """The one line with which it ends; meanwhile a file system is kept full."""
    end = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < end:
        if full is not None:
            disks.fill(full)  # a file that is replaced has given room
        time.sleep(0.02)
    process.wait(1)
    line = (disks.folder / "stderr").read_text()
    assert process.returncode == 1, line
    assert len(line.splitlines()) == 1, line
    assert "Traceback" not in (disks.folder / "stdout").read_text()
    return line


def goes_on(disks):
    """Assert that --resume ends the run, and that all is recorded once."""
    ran = disks.python("distributed.cv", "--resume")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    client = client_of(disks.folder)
    experiment = client.get_experiment_by_name("crossfold").experiment_id
    recorded_once(client, experiment, folds=2, epochs=EPOCHS)
    assert len(client.search_logged_models([experiment])) == 3


def test_a_disk_that_is_full_at_a_checkpoint_keeps_the_last_one(disks):
    disks.mount(".crossfold", "60m")
    process = disks.job(*RUN)
    until(disks, process, EpochEnded, 2)
    line = failed(disks, process, full=".crossfold")
    assert line.startswith("failed: the disk is full (")
    assert "; make room; to go on: python -m distributed.cv --resume test_resnet-" in line
    (checkpoint,) = disks.space.glob("fold-*/checkpoint.pt")
    assert torch.load(checkpoint, weights_only=True)  # whole
    assert not list(disks.space.rglob("*.part"))
    disks.empty(".crossfold")
    goes_on(disks)


def test_a_disk_that_is_full_at_a_result_loses_no_epoch(disks):
    disks.mount(".crossfold", "60m")
    process = disks.job(*RUN)
    until(disks, process, EpochEnded, EPOCHS)
    line = failed(disks, process, full=".crossfold")
    assert line.startswith("failed: the disk is full (")
    assert not list(disks.space.rglob("*.part"))
    disks.empty(".crossfold")
    goes_on(disks)


def test_a_disk_that_is_full_at_mlflows_files_keeps_the_results(disks):
    disks.mount("mlruns", "60m")
    process = disks.job(*RUN)
    until(disks, process, EpochEnded, 2)
    line = failed(disks, process, full="mlruns")
    assert line.startswith("failed: the disk is full (")
    assert "sqlite:///mlflow.db or its files" in line
    disks.empty("mlruns")
    ran = disks.python("tracking.replay")
    assert ran.returncode == 0, ran.stderr
    goes_on(disks)


def test_a_disk_that_is_full_with_all_that_a_run_writes(disks):
    disks.do("mount", "-t", "tmpfs", "-o", "size=3m", "none", str(disks.folder))
    ran = disks.python("distributed.cv", *RUN)
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert line.startswith("failed: the disk is full (")
    assert "Traceback" not in ran.stdout
    disks.do("mount", "-o", "remount,size=60m", str(disks.folder))
    ran = disks.python("distributed.cv", "--resume")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_run_in_a_folder_that_may_not_be_written_does_not_begin(disks):
    disks.do("mount", "-t", "tmpfs", "-o", "size=1m,ro", "none", str(disks.folder))
    ran = disks.python("distributed.cv", *RUN)
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith("error: ")
    assert "can be written to" in line
    assert not list(disks.seen().iterdir())


def test_a_folder_that_may_not_be_written_any_more_ends_the_run_in_one_line(disks):
    process = disks.job(*RUN)
    until(disks, process, EpochEnded, 2)
    place = str(disks.folder / ".crossfold")
    disks.do("mount", "--bind", place, place)
    disks.do("mount", "-o", "remount,bind,ro", place)
    line = failed(disks, process)
    assert "Read-only file system" in line
    assert "; to go on: python -m distributed.cv --resume test_resnet-" in line
    for module, *argv in (["distributed.cv", "--resume"], ["tracking.replay"]):
        ran = disks.python(module, *argv)
        assert ran.returncode == 2
        (line,) = ran.stderr.splitlines()
        assert "cannot be written to (" in line
    disks.do("umount", place)
    goes_on(disks)


@pytest.fixture
def open_folder():
    """A folder that others may look into, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("mode", [0o755, 0o700])  # who is not root may look into it, or not
def test_a_user_who_may_not_write_is_told_so(open_folder, mode):
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become somebody else")
    folder, own = open_folder / "theirs", open_folder / "own"
    for made in (folder, own):
        made.mkdir()
    own.chmod(0o777)
    variables = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR"), str(own))
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-m"]
    folder.chmod(mode)
    ran = subprocess.run(
        ["sh", "-c", 'cd "$0" && exec "$@"', folder, *words, "distributed.cv", *RUN],
        env=environment() | variables, text=True, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 2, ran.stderr
    assert len(ran.stderr.splitlines()) == 1, ran.stderr
    assert "can be written to" in ran.stderr
    assert not list(folder.iterdir())
