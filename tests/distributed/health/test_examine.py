"""The session's Ray, which is one node, looked at."""

import sys

from distributed.health import checks, examine
from distributed.health.gather import alive, ask, links


def test_this_machine_answers_for_itself(local_ray):
    (node,) = ask(alive(), thorough=True, patience=120)
    assert node.facts is not None
    assert node.facts.versions["python"] == sys.version.split()[0]
    assert node.facts.missing == ()
    assert abs(node.clock.ahead) < 1
    found = {finding.check: finding for finding in checks.all_of(checks.QUICK, [node])}
    assert {f.state for name, f in found.items() if name != "shared memory"} == {"ok"}


def test_two_workers_add_up(local_ray):
    """Both on this machine: that is what there is."""
    assert [link.trouble for link in links(alive() * 3, "gloo")] == ["", "", ""]


def test_a_backend_that_cannot_be_used_is_told(local_ray):
    assert all(link.trouble for link in links(alive() * 2, "mpi"))


def test_one_node_is_not_warned_of(local_ray, monkeypatch):
    monkeypatch.setattr(examine, "ask", None)
    examine.warn(None)
