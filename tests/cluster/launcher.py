"""The cluster of `cluster.local.yaml`, brought up and used as docs/how-to/cluster.md says."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from sklearn.datasets import load_digits

from tests.cluster import hosts
from tests.cluster.hosts import HOME, Host, Network

ROOT = Path(__file__).parents[2]
CHECKOUT = f"{HOME}/crossfold"
RAY = str(Path(sys.prefix) / "bin" / "ray")
IMAGES = 240
MLFLOW = "http://127.0.0.1:5000"
RUN = (
    "cd crossfold && python -m distributed.cv --address auto --data ~/cells.npz "
    f"--tracking-uri {MLFLOW} --folds 4 --backbone test_resnet --weights none --batch-size 16 "
    "--stages 1:40:1e-3 --shift off --audit off --precision fp32"
)

_RUNS = """
import json, sys, mlflow
client = mlflow.MlflowClient(sys.argv[1])
runs = map(client.get_run, sys.argv[2:])
print(json.dumps([{"status": run.info.status, "tags": run.data.tags} for run in runs]))
"""


@dataclass(frozen=True)
class Cluster:
    """Three machines: the user's, which has the checkout, the head and a worker."""

    network: Network
    desk: Host
    head: Host
    worker: Host

    def ray(self, *words: str, timeout: float = 300) -> str:
        """One of the launcher's commands, at the user's desk."""
        command, *rest = words
        return self.desk.run(RAY, command, "cluster.yaml", *rest, cwd=CHECKOUT, timeout=timeout)

    def exec(self, line: str, timeout: float = 300) -> str:
        """`ray exec`: a line of shell on the head."""
        return self.ray("exec", line, timeout=timeout)

    def begin(self, line: str) -> subprocess.Popen:
        """`ray exec` in the background."""
        return self.desk.popen(
            RAY, "exec", "cluster.yaml", line, cwd=CHECKOUT,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def nodes(self) -> int:
        """Nodes that are alive, as `ray status` says on the head."""
        said = self.exec("ray status")
        active = said.partition("Active:")[2].partition("Pending:")[0]
        return sum(int(line.split()[0]) for line in active.splitlines() if line.endswith(".node"))

    def wait_for_nodes(self, count: int, timeout: float = 240) -> None:
        """Return when so many nodes are alive."""
        until = time.monotonic() + timeout
        while (there := self.nodes()) != count:
            assert time.monotonic() < until, f"{there} nodes: {self.exec('ray status')}"

    def folder(self, host: Host) -> Path:
        """The home of a machine's user, as this machine sees it."""
        return Path(f"/proc/{host.pid}/root{HOME}")

    def summary(self, output: str) -> dict:
        """The summary of a run on the head."""
        return json.loads(
            (self.folder(self.head) / "crossfold" / output / "summary.json").read_text()
        )

    def probabilities(self, output: str) -> np.ndarray:
        """What a run on the head predicts for each image."""
        return np.load(self.folder(self.head) / "crossfold" / output / "oof.npz")["probabilities"]

    def runs_of(self, summary: dict) -> list[dict]:
        """The MLflow runs of a run's folds, from the server on the head."""
        ids = [fold["mlflow_run"] for fold in summary["folds"]]
        return json.loads(self.head.run(sys.executable, "-c", _RUNS, MLFLOW, *ids))


def configuration(head: Host, workers: list[Host]) -> dict:
    """`cluster.local.yaml`, filled in; this environment stands for the one that uv would make."""
    config = yaml.safe_load((ROOT / "cluster.local.yaml").read_text(encoding="utf-8"))
    config["provider"] |= {
        "head_ip": head.address, "worker_ips": [worker.address for worker in workers],
    }  # fmt: skip
    config["auth"] |= {"ssh_user": "root"}
    kept = [command for command in config["setup_commands"] if "/bin/uv" not in command]
    assert len(kept) == len(config["setup_commands"]) - 3
    installed = f"ln -sfn {sys.prefix} ~/crossfold-env"
    editable = "echo 'export PYTHONPATH=$HOME/crossfold' >> ~/.bashrc"
    config["setup_commands"] = [installed, *kept, f"grep -q PYTHONPATH ~/.bashrc || {editable}"]
    return config


def bring(folder: Path, head: Host, workers: list[Host], images: Path) -> None:
    """Put the checkout, the filled-in file and images into the home of the user's machine."""
    home = folder / "tmp" / "home"
    sent = [
        "rsync",
        "-a",
        "--filter=:- .gitignore",
        "--exclude=.git",
        f"{ROOT}/",
        home / "crossfold",
    ]
    subprocess.run(sent, check=True)
    config = yaml.safe_dump(configuration(head, workers), sort_keys=False)
    (home / "crossfold" / "cluster.yaml").write_text(config, encoding="utf-8")
    images.rename(home / "cells.npz")


@contextlib.contextmanager
def raised(folder: Path) -> Iterator[Cluster]:
    """A cluster of two hosts on which `ray up` has been run; the images are on the head alone."""
    hosts.skip_where_impossible()
    grey = (load_digits().images[:IMAGES] * 15).astype(np.uint8)
    images = np.repeat(grey[..., None], 3, axis=3)
    np.savez(folder / "cells.npz", images=images, labels=load_digits().target[:IMAGES])
    with hosts.network(folder, ["desk", "head", "worker"], {}) as network:
        made = Cluster(network, *network.hosts)
        bring(folder / "desk", made.head, [made.worker], folder / "cells.npz")
        made.ray("up", "-y", timeout=600)
        made.wait_for_nodes(2)
        made.ray("rsync-up", "../cells.npz", "~/cells.npz")
        yield made
