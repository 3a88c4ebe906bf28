"""A cluster of two Ray nodes on this machine, one of which is not as it was, examined."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.distributed.test_end_to_end import BASE, python
from tests.servers import free_port

pytestmark = pytest.mark.slow
NAMES = ("nodes", "versions", "imports", "clocks", "shared memory", "open files", "disks", "gpus")


@contextlib.contextmanager
def two_nodes(folder, log, **second):
    """The address of a cluster of two nodes; the environment of the second has more in it."""
    address = f"127.0.0.1:{(port := free_port())}"
    own = os.environ | {"RAY_TMPDIR": str(folder), "RAY_AUTH_MODE": "disabled"}
    each = ["--node-ip-address", "127.0.0.1", "--num-cpus", "1", "--block"]
    each += ["--object-store-memory", str(200 * 2**20)]
    ray = [str(Path(sys.executable).with_name("ray")), "start"]
    head = [*ray, "--head", "--port", str(port), "--include-dashboard", "false", *each]
    other = [*ray, "--address", address, *each]
    with contextlib.ExitStack() as stack:
        for count, (words, variables) in enumerate(((head, own), (other, own | second)), 1):
            file = stack.enter_context(log.open("a"))
            process = subprocess.Popen(words, env=variables, stdout=file, stderr=file)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            wait_for_nodes(address, count, own, log)
        yield address


def wait_for_nodes(address, count, variables, log):
    """Return when so many nodes have joined."""
    code = (
        "import sys, time, ray\n"
        f"ray.init(address={address!r}, log_to_driver=False)\n"
        "until = time.monotonic() + 60\n"
        f"while len(ray.nodes()) < {count} and time.monotonic() < until: time.sleep(0.2)\n"
        f"sys.exit(len(ray.nodes()) < {count})"
    )
    words = [sys.executable, "-c", code]
    for _ in range(5):  # the head needs some seconds
        if subprocess.run(words, env=variables, capture_output=True).returncode == 0:
            return
    pytest.fail(log.read_text())


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Of two nodes, of which the second has another timm by its metadata."""
    log = tmp_path_factory.mktemp("ray") / "log"
    folder = Path(tempfile.mkdtemp(prefix="cf"))  # Ray's sockets want a short name
    other = folder / "other" / "timm-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: timm\nVersion: 9.9\n")
    path = f"{other.parent}:{os.environ.get('PYTHONPATH', '')}"
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_AUTH_MODE", "disabled")
    try:
        with two_nodes(folder, log, PYTHONPATH=path) as address:
            yield address
    finally:
        patch.undo()
        shutil.rmtree(folder, ignore_errors=True)


def test_another_version_on_the_second_node_is_found(address, tmp_path):
    ran = python(tmp_path, "distributed.doctor", "--address", address)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert ran.stderr == "failed: 1 thing is broken; see above\n"
    assert "9.9 on" in ran.stdout
    assert "pip install -c constraints.txt timm==" in ran.stdout
    assert all(name in ran.stdout for name in NAMES)
    assert "gloo sums over 1 pair of nodes" in ran.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_run_warns_and_goes_on(address, tmp_path):
    ran = python(
        tmp_path, "distributed.cv", *BASE, "--stages", "1:1:1e-3", "--shift", "off", "--address",
        address,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (warned,) = [line for line in ran.stdout.splitlines() if "doctor" in line]
    assert warned.startswith("notice: versions: timm ")
    assert " 9.9 on " in warned
