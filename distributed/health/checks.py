"""What is wrong, judged by what machines have said: pure functions, each with its remedy."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from distributed.health.gather import Link, Node
from folds.errors import counted, listed

State = Literal["ok", "notice", "broken"]
LEAST_FILES = 4096  # below which Ray itself warns
FILES = 65536
SKEW_S, BROKEN_SKEW_S = 1.0, 60.0
RAY_FULL = 0.95  # of the disk: then Ray writes no more objects to it
UPLOAD_MOST = 100 * 2**20  # of a package, for Ray
_HARMLESS = {"mlflow"}  # which only the driver imports


@dataclass(frozen=True)
class Finding:
    """What a check has found.

    Parameters
    ----------
    check : str
        Its name.
    state : {"ok", "notice", "broken"}
        A notice is what costs time only, or cannot be checked.
    seen : str
        What there is.
    remedy : str
        One line; empty where nothing is to be done.
    """

    check: str
    state: State
    seen: str
    remedy: str = ""


def judge(check: str, worse: Sequence[Finding], seen: str) -> list[Finding]:
    """The findings of a check, or the one that says that all is well."""
    return list(worse) or [Finding(check, "ok", seen)]


def answers(nodes: Sequence[Node]) -> list[Finding]:
    """Whether all machines have answered."""
    remedy = "look at `ray status` and at raylet.out in its /tmp/ray/session_latest/logs"
    silent = [
        Finding("nodes", "broken", f"{node.name} does not answer", remedy)
        for node in nodes
        if node.facts is None
    ]
    names = listed([node.name for node in nodes], most=4)
    return judge("nodes", silent, f"{len(nodes)} answer: {names}")


def versions(nodes: Sequence[Node]) -> list[Finding]:
    """Whether all machines have the versions of the first, which runs the command."""
    said = [(node, node.facts.versions) for node in nodes if node.facts is not None]
    if not said:
        return []
    own = said[0][1]
    found = []
    for name, here in own.items():
        others = [(node.name, there.get(name, "")) for node, there in said[1:]]
        differ = [(node, there) for node, there in others if there != here]
        if differ:
            found.append(_other_version(name, here, differ))
    return judge("versions", found, ", ".join(f"{name} {own[name]}" for name in own))


def _other_version(name: str, here: str, differ: Sequence[tuple[str, str]]) -> Finding:
    several = listed([f"{there or 'none'} on {node}" for node, there in differ])
    same_release = all(there.partition("+")[0] == here.partition("+")[0] for _, there in differ)
    harmless = name in _HARMLESS or (same_release and name != "crossfold")
    remedy = f"pip install -c constraints.txt {name}=={here.partition('+')[0]} there"
    if name == "crossfold":
        remedy = "another copy comes first on that node's path: take it out of PYTHONPATH there"
    elif name == "python":
        remedy = f"make the environment there anew with Python {here}"
    state: State = "notice" if harmless else "broken"
    return Finding("versions", state, f"{name} {here or 'none'} here, {several}", remedy)


def imports(nodes: Sequence[Node]) -> list[Finding]:
    """Whether a worker could be started everywhere."""
    remedy = "install crossfold's packages there: pip install -c constraints.txt -e ."
    found = [
        Finding("imports", "broken", f"{node.name} cannot import {listed(missing)}", remedy)
        for node in nodes
        if node.facts is not None and (missing := node.facts.missing)
    ]
    return judge("imports", found, "what a worker needs is there")


def clocks(nodes: Sequence[Node]) -> list[Finding]:
    """Whether the machines' clocks agree."""
    found, most = [], 0.0
    for node in nodes:
        if node.clock is None:
            continue
        sure = abs(node.clock.ahead) - node.clock.give_or_take
        most = max(most, abs(node.clock.ahead))
        if sure > SKEW_S:
            side = "ahead of" if node.clock.ahead > 0 else "behind"
            state: State = "broken" if sure > BROKEN_SKEW_S else "notice"
            seen = f"{node.name} is {abs(node.clock.ahead):.1f} s {side} this machine"
            found.append(Finding("clocks", state, seen, "let chrony or ntpd set the time there"))
    return judge("clocks", found, f"at most {most * 1000:.0f} ms apart")


def shared_memory(nodes: Sequence[Node]) -> list[Finding]:
    """Whether Ray's object stores fit into /dev/shm; else they are files."""
    found, least = [], []
    for node in nodes:
        store = node.resources.get("object_store_memory", 0)
        shm = None if node.facts is None else node.facts.shm
        if node.facts is None or not store:
            continue
        if shm is None or shm < store:
            there = "none" if shm is None else gigabytes(shm)
            seen = f"{node.name}: /dev/shm {there}, Ray's object store {gigabytes(store)}"
            size = f"{1.1 * store / 2**30:.1f}"
            remedy = (
                f"mount -o remount,size={size}g /dev/shm (docker: --shm-size={size}g), and start "
                "Ray there anew"
            )
            found.append(Finding("shared memory", "broken", seen, remedy))
        else:
            least.append(f"{gigabytes(store)} of {gigabytes(shm)}")
    return judge("shared memory", found, f"Ray's object store takes {listed(least)}")


def open_files(nodes: Sequence[Node]) -> list[Finding]:
    """Whether workers may open enough files."""
    limits = {node.name: node.facts.files for node in nodes if node.facts is not None}
    found = []
    for name, limit in limits.items():
        if 0 <= limit < FILES:  # -1: no limit
            state: State = "broken" if limit < LEAST_FILES else "notice"
            remedy = f"ulimit -n {FILES} before `ray start` there"
            found.append(Finding("open files", state, f"{name}: at most {limit:,}", remedy))
    return judge("open files", found, f"{listed(f'{n:,}' for n in set(limits.values()))} a process")


def disks(nodes: Sequence[Node]) -> list[Finding]:
    """Whether Ray can write objects to the disk when memory is full."""
    found = []
    for node in nodes:
        if node.facts is None:
            continue
        used = 1 - node.facts.disk_free / node.facts.disk_total
        if used > RAY_FULL:
            seen = f"{node.name}: the disk with Ray's folder is {used:.0%} full"
            found.append(Finding("disks", "broken", seen, "make room there; Ray needs 5% of it"))
    least = min((n.facts.disk_free for n in nodes if n.facts is not None), default=0)
    return judge("disks", found, f"at least {gigabytes(least)} free for Ray on each")


def gpus(nodes: Sequence[Node]) -> list[Finding]:
    """Whether the machines' GPUs are known to Ray, usable by PyTorch, and of one driver."""
    found = [finding for node in nodes for finding in _own_gpus(node)]
    there = [gpu for node in nodes if node.facts is not None for gpu in node.facts.gpus or ()]
    drivers = listed(sorted({gpu.driver for gpu in there}))
    if len({gpu.driver for gpu in there}) > 1:
        remedy = "install one driver on all machines"
        found.append(Finding("gpus", "notice", f"drivers {drivers}", remedy))
    kinds = Counter(gpu.name for gpu in there)
    named = listed(f"{count} {name}" for name, count in kinds.items())
    return judge("gpus", found, f"{named}, driver {drivers}" if there else "none")


def _own_gpus(node: Node) -> list[Finding]:
    if node.facts is None:
        return []
    there = len(node.facts.gpus or ())
    if node.gpus > there:
        seen = f"{node.name}: Ray hands out {node.gpus:g}, the driver answers for {there}"
        return [Finding("gpus", "broken", seen, "see `nvidia-smi` there; install the driver")]
    if there and node.facts.cuda is False:
        remedy = "install PyTorch's CUDA build there"
        return [Finding("gpus", "broken", f"{node.name}: PyTorch is made for the CPU", remedy)]
    if there > node.gpus:
        seen = f"{node.name}: {there} there, Ray hands out {node.gpus:g}"
        return [Finding("gpus", "notice", seen, "start Ray there with --num-gpus, or leave it so")]
    return []


def network(links: Sequence[Link], nodes: Sequence[Node]) -> list[Finding]:
    """Whether workers of one fold could talk from machine to machine."""
    if not links:
        return [Finding("network", "ok", "one node: nothing to try")]
    found = []
    for link in links:
        if link.trouble:
            seen = f"{link.backend}, {link.first} and {link.second}: {link.trouble}"
            found.append(Finding("network", "broken", seen, _network_remedy(link, nodes)))
    return judge(
        "network", found, f"{links[0].backend} sums over {counted(len(links), 'pair')} of nodes"
    )


def _network_remedy(link: Link, nodes: Sequence[Node]) -> str:
    for node in nodes:
        facts = node.facts
        if facts is None or node.address not in (link.first, link.second):
            continue
        if facts.resolves.startswith("127."):  # gloo needs one of two that does not
            return (
                f"{facts.host} takes its own name for {facts.resolves}: write "
                f"`{node.address} {facts.host}` into its /etc/hosts"
            )
    variable = "NCCL_SOCKET_IFNAME" if link.backend == "nccl" else "GLOO_SOCKET_IFNAME"
    return (
        f"let the firewall pass all ports between them; {variable} names the interface; "
        "or --workers-per-fold 1"
    )


def upload(sizes: dict[str, int]) -> list[Finding]:
    """Whether Ray takes the packages along; sizes in bytes by folder."""
    found = [
        Finding(
            "upload", "broken", f"{folder} has {size / 2**20:.0f} MiB, Ray takes 100",
            "move what is no code out of it",
        )
        for folder, size in sizes.items()
        if size > UPLOAD_MOST
    ]  # fmt: skip
    return judge("upload", found, f"{sum(sizes.values()) / 2**20:.1f} MiB of code for each node")


def gigabytes(count: float) -> str:
    """Bytes for people."""
    return f"{count / 1e9:.1f} GB"


QUICK: tuple[Callable[[Sequence[Node]], list[Finding]], ...] = (
    answers, versions, imports, clocks, shared_memory,
)  # fmt: skip
EVERY = (*QUICK, open_files, disks, gpus)


def all_of(
    checks: Iterable[Callable[[Sequence[Node]], list[Finding]]], nodes: Sequence[Node]
) -> list[Finding]:
    """The findings of some checks, in their order."""
    return [finding for check in checks for finding in check(nodes)]
