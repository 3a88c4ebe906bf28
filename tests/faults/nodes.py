"""A Ray cluster of several nodes on this machine, by `ray start`, each of which can be lost."""

import contextlib
import subprocess
import sys
from pathlib import Path

from tests.distributed.test_end_to_end import environment
from tests.faults.faults import below, descendants, kill
from tests.servers import free_port

RAY = str(Path(sys.executable).parent / "ray")
ALONE = {"RAY_AUTH_MODE": "disabled"}


class Node:
    """One node, as `ray start --block` runs it.

    Parameters
    ----------
    port : int
        Of the head node, which begins a cluster; with `head` this one is it.
    cpus : int
    """

    def __init__(self, port, cpus, *, head=False):
        where = ["--head", f"--port={port}", "--include-dashboard=false"]
        where = where if head else [f"--address=127.0.0.1:{port}"]
        self.process = subprocess.Popen(
            [RAY, "start", *where, "--block", f"--num-cpus={cpus}", "--node-ip-address=127.0.0.1",
             "--disable-usage-stats"],
            env=environment() | ALONE, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        for line in self.process.stdout:
            if "Ray runtime started" in line:
                return
        raise AssertionError(f"ray start ended with {self.process.wait()}")

    def processes(self, title):
        """Ids of its processes whose title begins so."""
        return below(self.process.pid, title)

    @property
    def raylet(self):
        """The process that is the node for Ray."""
        return next(
            pid for pid in descendants(self.process.pid)
            if Path(f"/proc/{pid}/comm").read_text().strip() == "raylet"
        )  # fmt: skip

    @property
    def id(self):
        """Its hexadecimal id, which its raylet was started with."""
        words = Path(f"/proc/{self.raylet}/cmdline").read_text().split("\0")
        return next(w.partition("=")[2] for w in words if w.startswith("--node_id="))

    def end(self):
        """End all of it."""
        kill(*descendants(self.process.pid), self.process.pid)
        self.process.wait()


@contextlib.contextmanager
def cluster(*cpus):
    """Address and nodes of a cluster whose nodes have so many cores; the first is the head."""
    port, nodes = free_port(), []
    try:
        for number, own in enumerate(cpus):
            nodes.append(Node(port, own, head=number == 0))
        yield f"127.0.0.1:{port}", nodes
    finally:
        for node in reversed(nodes):
            node.end()
