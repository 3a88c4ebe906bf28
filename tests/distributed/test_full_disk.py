"""The disk fills up while folds train: one line, nothing half-written, and --resume goes on."""

import shutil
import subprocess
import sys

import pytest

from tests.distributed.test_end_to_end import BASE, environment

pytestmark = pytest.mark.slow  # two main jobs

_RUN = """
mount -t tmpfs -o size=3m none full && cd full || exit 99
"$@" --stages 1:2:1e-3 --folds 3 {base} >../first.out 2>../first.err; echo $? >../first.rc
mount -o remount,size=60m .
"$@" --resume >../second.out 2>../second.err; echo $? >../second.rc
"""


def may_mount(folder):
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    tried = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(tmp_path):
    (tmp_path / "full").mkdir()
    if not may_mount(tmp_path / "full"):
        pytest.skip("no right to mount a small file system (unshare -m)")
    base = " ".join([*BASE, "--shift", "off", "--audit", "off"])
    subprocess.run(
        ["unshare", "-m", "bash", "-c", _RUN.format(base=base), "cv",
         sys.executable, "-m", "distributed.cv"],
        cwd=tmp_path, env=environment(), timeout=500, check=True,
    )  # fmt: skip
    said = (tmp_path / "first.err").read_text()
    assert (tmp_path / "first.rc").read_text() == "1\n"
    assert len(said.splitlines()) == 1
    assert said.startswith("failed: the disk is full (")
    assert "to go on: python -m distributed.cv --resume test_resnet-" in said
    assert "Traceback" not in (tmp_path / "first.out").read_text()
    assert (tmp_path / "second.rc").read_text() == "0\n", (tmp_path / "second.err").read_text()
    assert "all pooled" in (tmp_path / "second.out").read_text()
