import signal
import subprocess
import sys

import pytest

from tests.faults.faults import heed_ctrl_c, heeds


def begun(*words):
    """A command that imports its modules: it heeds SIGTERM, which Python does not by itself."""
    process = subprocess.Popen(
        [sys.executable, *words], text=True, preexec_fn=heed_ctrl_c,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while process.poll() is None and not heeds(process.pid, signal.SIGTERM):
        pass
    return process


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("module", ["distributed.cv", "tracking.predict", "folds.inspect"])
def test_a_signal_while_modules_are_imported_is_one_line(module, number, status):
    with begun("-m", module, "--help") as process:
        process.send_signal(number)
        out, told = process.communicate(timeout=60)
    assert (process.returncode, out, told) == (status, "", "interrupted\n")


def test_who_imports_a_command_keeps_its_handlers():
    code = (
        "import signal; before = list(map(signal.getsignal, (2, 15))); import distributed.cv; "
        "assert list(map(signal.getsignal, (2, 15))) == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
