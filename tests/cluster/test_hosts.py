"""The machines that the tests of this folder are run on; needs no Ray and a few seconds."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster import hosts
from tests.cluster.launcher import ROOT

SSH = "ssh -o StrictHostKeyChecking=no -o ConnectTimeout=3 -i .ssh/id_ed25519"
HELD = """
import sys, time
from pathlib import Path
from tests.cluster import hosts
with hosts.network(Path(sys.argv[1]), ["desk", "head"], {}) as network:
    network.hosts[1].popen("sleep", "1000")
    print(*(host.pid for host in network.hosts), flush=True)
    time.sleep(1000)
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    hosts.skip_where_impossible()
    with hosts.network(tmp_path_factory.mktemp("net"), ["desk", "head", "worker"], {}) as made:
        yield made


def test_each_has_its_own_name_processes_files_and_one_core(network):
    _, head, worker = network.hosts
    for host in network.hosts:
        assert host.run("hostname").strip() == host.name
        assert len(host.processes()) == 3, host.processes()  # its first, sshd, and what waits
        cores = "import os; print(os.cpu_count())"
        assert host.run(sys.executable, "-c", cores).strip() == "1"
    head.run("touch", "/tmp/mine", "/dev/shm/mine", "mine")
    for path in ("/tmp/mine", "/dev/shm/mine", f"{hosts.HOME}/mine"):
        assert not Path(path).exists()
        worker.run("test", "!", "-e", path)


def test_its_user_logs_in_with_the_key(network):
    desk = network.hosts[0]
    for name in ("head", "worker"):
        said = desk.run("bash", "-c", f"{SSH} root@{name} 'hostname; pwd'")
        assert said.splitlines()[-2:] == [name, hosts.HOME]


def test_a_link_is_cut_and_mended(network):
    desk, _, worker = network.hosts
    network.cut(worker)
    desk.run("bash", "-c", f"! {SSH} root@worker true")
    desk.run("bash", "-c", f"{SSH} root@head true")
    network.mend(worker)
    desk.run("bash", "-c", f"{SSH} root@worker true")


def test_all_ends_with_the_process_that_made_it(tmp_path):
    """Also where that is killed, as nothing after it then cleans up."""
    hosts.skip_where_impossible()
    before = subprocess.run(["ip", "-br", "link"], capture_output=True).stdout
    words = [sys.executable, "-c", HELD, str(tmp_path)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 2
        process.send_signal(signal.SIGKILL)
    until = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert subprocess.run(["ip", "-br", "link"], capture_output=True).stdout == before
