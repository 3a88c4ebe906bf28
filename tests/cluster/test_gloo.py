"""What the doctor tries between two hosts, without Ray: gloo, and what keeps it from working."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster import hosts
from tests.cluster.launcher import ROOT

pytestmark = pytest.mark.slow
CODE = (
    "import sys; from distributed.health.node import Probe; "
    "print(f'said <{Probe().add_up(int(sys.argv[1]), sys.argv[2], \"gloo\", 10)}>')"
)
# what Debian's installer writes
LOOPBACK = (
    'sed "s/^.* $(hostname)$/127.0.1.1 $(hostname)/" /etc/hosts >h && mount --bind h /etc/hosts'
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    hosts.skip_where_impossible()
    folder, names = tmp_path_factory.mktemp("pair"), ["head", "worker"]
    with hosts.network(folder, names, {name: [ROOT] for name in names}) as network:
        yield network.hosts


def sum_over(pair, port):
    """What both say, the one that is connected to first; nothing where it works."""

    def run(host, rank):
        words = [sys.executable, "-c", CODE, str(rank), f"{pair[0].address}:{port}"]
        return host.run(*words, cwd=str(ROOT)).rpartition("said <")[2].strip().removesuffix(">")

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run, pair, range(2)))


def test_hosts_that_know_their_addresses_add_up(pair):
    assert sum_over(pair, 5001) == ["", ""]


def test_hosts_that_take_their_names_for_the_loopback_do_not_reach_each_other(pair):
    for number, host in enumerate(pair):
        assert number == 0 or sum_over(pair, 5002) == ["", ""]  # one may
        host.run("bash", "-c", LOOPBACK)
    assert all("connect" in said for said in sum_over(pair, 5003))
