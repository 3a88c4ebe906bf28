"""The whole examination, which `distributed.doctor` shows, and the short one before a run."""

from collections.abc import Callable
from pathlib import Path

from ray.exceptions import RayError

from distributed.health import checks, here
from distributed.health.gather import Node, alive, ask, links
from distributed.health.table import line
from folds.errors import reason

_PATIENCE_S, _SHORT_PATIENCE_S = 90.0, 10.0


def examine(uri: str | None) -> list[checks.Finding]:
    """Check all machines of the cluster that Ray has joined, and what this one needs.

    Parameters
    ----------
    uri : str, optional
        Of MLflow, as given; default as in `tracking.store.connect`.
    """
    folder = Path.cwd()
    own = [
        *here.storage(folder),
        *here.mlflow(uri, folder),
        *here.packages(),
    ]
    there = alive()
    nodes = ask(there, thorough=True, patience=_PATIENCE_S)
    found = checks.all_of(checks.EVERY, nodes)
    return [*own, *found, *_network(there, nodes)]


def _network(there: list[dict], nodes: list[Node]) -> list[checks.Finding]:
    """Between those that have answered: with NCCL if all have GPUs, else with gloo."""
    answering = [one for one, node in zip(there, nodes, strict=True) if node.facts is not None]
    if len(answering) < 2:
        return checks.network([], nodes)
    backend = "nccl" if all(one["Resources"].get("GPU") for one in answering) else "gloo"
    return checks.network(links(answering, backend), nodes)


def warn(tell: Callable[[str], None]) -> None:
    """Before a run on several machines: tell in a line each what is wrong with them.

    Parameters
    ----------
    tell : callable
        Is given a line for the user.
    """
    try:
        there = alive()
        if len(there) < 2:
            return
        nodes = ask(there, thorough=False, patience=_SHORT_PATIENCE_S)
    except RayError as error:
        tell(f"notice: the nodes could not be looked at: {reason(error)}")
        return
    for finding in checks.all_of(checks.QUICK, nodes):
        if finding.state != "ok":
            tell(f"notice: {line(finding)} (python -m distributed.doctor tells more)")
