"""Machines that are about to be taken away, as Ray knows them.

A cloud's notice, a Kubernetes pod's SIGTERM (`ray start --block` hears it) and `ray drain-node` all
make Ray drain the machine: what runs there goes on until the end, and nothing new begins.
"""

import time

from ray._private.state import state

ASK_S = 1.0  # between two questions: an epoch of a head alone takes milliseconds


class TakenAway:
    """Whether a machine of the cluster is about to be taken away; says so once a second at most."""

    def __init__(self) -> None:
        self._asked = float("-inf")

    def __call__(self) -> bool:
        """Ask Ray, unless it was asked just now."""
        if time.monotonic() < self._asked + ASK_S:
            return False
        self._asked = time.monotonic()
        return bool(state.get_draining_nodes())
