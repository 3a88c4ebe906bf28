"""Machines made of Linux namespaces, with a switch between them whose links can be cut.

Each has its own network, processes, host name, /tmp, /dev/shm and home, and sees one core. All of a
machine ends with its first process, and that ends with the test's process; nothing is left behind,
since what lies between the machines is in a namespace, too.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = {
    "ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux", "mount": "mount",
    "taskset": "util-linux", "sshd": "openssh-server", "ssh": "openssh-client", "rsync": "rsync",
    "curl": "curl",
}  # fmt: skip
HOME = "/tmp/home"
_SCRIPT = Path(__file__).with_name("host.sh")
_NEW = ("unshare", "-n", "-m", "-u", "-i", "-p", "-f", "--mount-proc", "--kill-child")
_DROP = {"RAY_ADDRESS", "MLFLOW_TRACKING_URI", "PYTHONPATH", "TMPDIR", "XDG_CACHE_HOME"}


@dataclass(frozen=True)
class Host:
    """A machine.

    Parameters
    ----------
    name, address : str
        Known to all machines by both.
    pid : int
        Of its first process, as this machine sees it.
    """

    name: str
    address: str
    pid: int

    def popen(self, *words: str, cwd: str = HOME, **options) -> subprocess.Popen:
        """Start a command on it, as its user would at its keyboard."""
        enter = ["nsenter", "-t", str(self.pid), "-n", "-m", "-u", "-i", "-p", f"--wdns={cwd}"]
        return subprocess.Popen(
            [*enter, *words], env=environment(), text=True, stdin=subprocess.DEVNULL, **options
        )

    def run(self, *words: str, cwd: str = HOME, timeout: float = 300) -> str:
        """Run a command on it; what it prints, which is told where it fails."""
        with self.popen(
            *words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            try:
                said, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                said, _ = process.communicate()
                raise AssertionError(f"{words} on {self.name} takes too long: {said}") from None
        assert process.returncode == 0, f"{words} on {self.name}: {said}"
        return said

    def processes(self) -> list[str]:
        """Command lines of all that runs on it."""
        lines = self.run("ps", "-eo", "args=").splitlines()
        return [line for line in lines if not line.startswith("ps ")]


@dataclass(frozen=True)
class Network:
    """Machines on one switch, which is in the first of them."""

    hosts: list[Host]

    def cut(self, host: Host) -> None:
        """Take the link to a host down at the switch; the host itself changes nothing."""
        _ip(self.hosts[0], "link", "set", f"to-{host.name}", "down")

    def mend(self, host: Host) -> None:
        """Bring the link up again."""
        _ip(self.hosts[0], "link", "set", f"to-{host.name}", "up")


def environment() -> dict[str, str]:
    """Of processes on the machines."""
    kept = {name: value for name, value in os.environ.items() if name not in _DROP}
    return kept | {"HOME": HOME, "PYTHONUNBUFFERED": "1"}


def skip_where_impossible() -> None:
    """Skip the test where this machine lacks a program or the right."""
    missing = sorted({PROGRAMS[name] for name in PROGRAMS if shutil.which(name) is None})
    if missing:
        pytest.skip(f"programs are missing: apt-get install {' '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("only root may make machines of namespaces")
    wanted = "ip link add b0 type bridge && ip link add v0 type veth peer name v1"
    tried = subprocess.run(
        [*_NEW, "sh", "-c", f"{wanted} && mount -t tmpfs none /run"], capture_output=True, text=True
    )
    if tried.returncode:
        pytest.skip(f"this machine lets nobody make machines of namespaces: {tried.stderr}")


@contextlib.contextmanager
def network(folder: Path, names: list[str], shared: dict[str, list[Path]]) -> Iterator[Network]:
    """Machines 10.77.0.1, .2, ... on one switch.

    Parameters
    ----------
    names : list of str
        The first one has the switch.
    shared : dict
        Folders that a machine of that name sees of this machine's /tmp, beside the Python in use;
        what is not under /tmp all see.
    """
    addresses = {name: f"10.77.0.{number}" for number, name in enumerate(names, 1)}
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with contextlib.ExitStack() as stack:
        hosts = []
        for number, (name, address) in enumerate(addresses.items()):
            own = _prepare(folder / name, addresses, key)
            core = str(sorted(os.sched_getaffinity(0))[-number % os.cpu_count()])
            visible = [Path(sys.prefix), Path(sys.base_prefix), *shared.get(name, [])]
            hosts.append(stack.enter_context(_host(own, name, address, core, visible)))
        _ip(hosts[0], "link", "add", "switch", "type", "bridge")
        _ip(hosts[0], "link", "set", "switch", "up")
        _ip(hosts[0], "addr", "add", f"{hosts[0].address}/24", "dev", "switch")
        for host in hosts[1:]:
            _plug(hosts[0], host)
        yield Network(hosts)


def _prepare(folder: Path, addresses: dict[str, str], key: Path) -> Path:
    """Write what shall differ from this machine's files."""
    (folder / "tmp" / "home" / ".ssh").mkdir(parents=True)
    (folder / "tmp").chmod(0o1777)
    (folder / "etc").mkdir()
    users = Path("/etc/passwd").read_text().splitlines()
    root = f"root:x:0:0:root:{HOME}:/bin/bash"
    others = [user for user in users if not user.startswith("root:")]
    (folder / "etc" / "passwd").write_text("\n".join([root, *others, ""]))
    known = [f"{address} {name}" for name, address in addresses.items()]
    (folder / "etc" / "hosts").write_text("\n".join(["127.0.0.1 localhost", *known, ""]))
    shutil.copy(f"{key}.pub", folder / "etc" / "authorized_keys")
    shutil.copy(key, folder / "tmp" / "home" / ".ssh" / "id_ed25519")
    return folder


@contextlib.contextmanager
def _host(folder: Path, name: str, address: str, core: str, visible: list[Path]) -> Iterator[Host]:
    shared = sorted({str(path.resolve()) for path in visible if Path("/tmp") in path.parents})
    with subprocess.Popen(
        [*_NEW, "taskset", "-c", core, "bash", _SCRIPT, folder, name, core, *shared],
        env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=(folder / "log").open("w"), text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout.readline() == "ready\n", (folder / "log").read_text()
            (first,) = _children(process.pid)
            yield Host(name, address, first)
        finally:
            process.kill()  # and with it, by --kill-child, all that runs there


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _plug(switch: Host, host: Host) -> None:
    port = f"to-{host.name}"
    _ip(switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(host.pid))
    _ip(switch, "link", "set", port, "master", "switch", "up")
    _ip(host, "addr", "add", f"{host.address}/24", "dev", "eth0")
    _ip(host, "link", "set", "eth0", "up")


def _ip(host: Host, *words: str) -> None:
    subprocess.run(["nsenter", "-t", str(host.pid), "-n", "ip", *words], check=True)
