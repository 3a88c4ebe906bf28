"""Find what is wrong with a cluster before a run does: ``python -m distributed.doctor``.

Looks at the folder, MLflow, versions, imports, clocks, memory, GPUs and the network between all
machines, and says what to do. Exit status 1 if something is broken.
"""

import sys
from dataclasses import dataclass

import folds.early  # noqa: F401  (first: what follows takes a second)
from distributed.cv import leave
from folds import cli
from folds.errors import RunError, counted


@dataclass
class Options:
    """Where to look."""

    address: str | None = None
    """Ray cluster to join ('auto', host:port); default: RAY_ADDRESS, or a Ray of this machine."""
    tracking_uri: str | None = None
    """MLflow store; default: MLFLOW_TRACKING_URI, or sqlite:///mlflow.db here."""


def main() -> None:
    """Join, look, tell."""
    options = cli.parse(
        Options, sys.argv[1:], prog="python -m distributed.doctor", description=__doc__ or ""
    )
    console = cli.Screen(emoji=False)
    from distributed import cluster
    from distributed.run import notify

    address = cluster.address_of(options.address)
    for notice in cluster.set_environment(address):
        notify(console, notice)
    cluster.start(address, cluster.local_resources(), verbose=False)
    from distributed.health.examine import examine
    from distributed.health.table import show

    findings = examine(options.tracking_uri)
    show(console, findings)
    if broken := sum(finding.state == "broken" for finding in findings):
        raise RunError(f"{counted(broken, 'thing is', 'things are')} broken; see above")


if __name__ == "__main__":
    leave(cli.run(main))
