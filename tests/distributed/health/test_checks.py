"""Each check passes a machine that is well, and fails one that is not, with a remedy."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from distributed.health import checks, here, table
from distributed.health.gather import Clock, Link, Node
from distributed.health.node import Gpu, NodeFacts

VERSIONS = {
    "python": "3.11.7", "ray": "2.60.0", "torch": "2.14.0", "timm": "1.0.31", "kornia": "0.9.0",
    "mlflow": "3.18.0", "crossfold": "0.1.0 (aaaa)",
}  # fmt: skip
FACTS = NodeFacts(
    "head", "10.0.0.1", VERSIONS, (), None, None, 4 * 10**9, 65536, 50 * 10**9, 10**11
)
HEAD = Node("10.0.0.1", {"CPU": 4, "object_store_memory": 2e9}, FACTS, Clock(0.0, 0.001))


def worker(*, resources=None, clock=HEAD.clock, **facts):
    own = replace(FACTS, **{"host": "worker", "resolves": "10.0.0.2", **facts})
    return Node("10.0.0.2", HEAD.resources | (resources or {}), own, clock)


def versions(**other):
    return {"versions": VERSIONS | other}


def bad(found):
    """The one finding, which is none that all is well."""
    (finding,) = found
    assert finding.state != "ok"
    assert finding.remedy
    return finding


def test_two_that_are_well_pass_every_check():
    found = checks.all_of(checks.EVERY, [HEAD, worker()])
    assert {finding.state for finding in found} == {"ok"}
    assert len(found) == len(checks.EVERY)


def test_the_short_form_is_a_part_of_the_whole():
    assert set(checks.QUICK) < set(checks.EVERY)


def test_a_silent_machine_breaks_one_check_and_no_other_falls_over_it():
    silent = Node("10.0.0.2", {"CPU": 4, "object_store_memory": 2e9, "GPU": 1})
    found = checks.all_of(checks.EVERY, [HEAD, silent])
    (broken,) = [finding for finding in found if finding.state != "ok"]
    assert (broken.check, broken.state) == ("nodes", "broken")
    assert "10.0.0.2 does not answer" in broken.seen


@pytest.mark.parametrize(
    ("name", "there", "state", "remedy"),
    [
        ("timm", "1.0.20", "broken", "timm==1.0.31 there"),
        ("timm", "", "broken", "timm==1.0.31 there"),
        ("torch", "2.13.0", "broken", "torch==2.14.0 there"),
        ("torch", "2.14.0+cu128", "notice", "torch==2.14.0 there"),
        ("mlflow", "3.14.0", "notice", "mlflow==3.18.0 there"),
        ("python", "3.12.1", "broken", "Python 3.11.7"),
        ("crossfold", "0.1.0 (bbbb)", "broken", "PYTHONPATH"),
    ],
)
def test_another_version_is_named_with_its_machine(name, there, state, remedy):
    finding = bad(checks.versions([HEAD, worker(**versions(**{name: there}))]))
    assert finding.state == state
    assert f"{name} {VERSIONS[name]} here, {there or 'none'} on worker (10.0.0.2)" in finding.seen
    assert remedy in finding.remedy


def test_what_cannot_be_imported_is_named():
    finding = bad(checks.imports([HEAD, worker(missing=("timm",))]))
    assert finding.seen == "worker (10.0.0.2) cannot import timm"


@pytest.mark.parametrize(
    ("ahead", "unsure", "state"),
    [(0.4, 0.01, "ok"), (-1.5, 0.01, "notice"), (1.5, 2.0, "ok"), (-90.0, 0.1, "broken")],
)
def test_a_clock_is_wrong_only_where_that_is_sure(ahead, unsure, state):
    (finding,) = checks.clocks([HEAD, worker(clock=Clock(ahead, unsure))])
    assert finding.state == state
    if state != "ok":
        assert f"worker (10.0.0.2) is {abs(ahead):.1f} s behind this machine" == finding.seen


@pytest.mark.parametrize("shm", [None, 64 * 2**20])
def test_an_object_store_that_does_not_fit_into_shared_memory(shm):
    finding = bad(checks.shared_memory([HEAD, worker(shm=shm)]))
    assert "Ray's object store 2.0 GB" in finding.seen
    assert "--shm-size=2.0g" in finding.remedy


@pytest.mark.parametrize(
    ("limit", "state"), [(1024, "broken"), (8192, "notice"), (65536, "ok"), (-1, "ok")]
)
def test_open_files(limit, state):
    assert checks.open_files([HEAD, worker(files=limit)])[0].state == state


def test_a_disk_that_ray_writes_no_more_objects_to():
    assert "96% full" in bad(checks.disks([HEAD, worker(disk_free=4 * 10**9)])).seen


@pytest.mark.parametrize(
    ("resources", "facts", "state"),
    [
        ({"GPU": 1}, {"gpus": None}, "broken"),
        ({"GPU": 2}, {"gpus": (Gpu("A", "550"),), "cuda": True}, "broken"),
        ({"GPU": 1}, {"gpus": (Gpu("A", "550"),), "cuda": False}, "broken"),
        ({}, {"gpus": (Gpu("A", "550"),), "cuda": True}, "notice"),
        ({"GPU": 1}, {"gpus": (Gpu("A", "550"),), "cuda": True}, "ok"),
    ],
)
def test_gpus_that_ray_or_pytorch_cannot_use(resources, facts, state):
    (finding,) = checks.gpus([HEAD, worker(resources=resources, **facts)])
    assert (finding.check, finding.state) == ("gpus", state)


def test_drivers_that_differ_are_noticed():
    nodes = [
        worker(resources={"GPU": 1}, gpus=(Gpu("A", driver),), cuda=True)
        for driver in ("550", "580")
    ]
    assert bad(checks.gpus(nodes)).seen == "drivers 550, 580"


def test_one_node_has_no_network_to_try():
    assert checks.network([], [HEAD])[0].state == "ok"


def test_a_link_that_does_not_work_is_explained_by_a_name_for_the_loopback():
    link = Link("10.0.0.1", "10.0.0.2", "gloo", "RuntimeError: connect timeout")
    plain = bad(checks.network([link], [HEAD, worker()]))
    assert plain.seen == "gloo, 10.0.0.1 and 10.0.0.2: RuntimeError: connect timeout"
    assert "GLOO_SOCKET_IFNAME" in plain.remedy
    named = bad(checks.network([link], [HEAD, worker(resolves="127.0.1.1")]))
    assert "write `10.0.0.2 worker` into its /etc/hosts" in named.remedy
    assert checks.network([replace(link, trouble="")], [HEAD, worker()])[0].state == "ok"


def test_code_that_ray_does_not_take_along():
    assert bad(checks.upload({"folds": 200 * 2**20})).seen == "folds has 200 MiB, Ray takes 100"
    assert here.packages()[0].state == "ok"


@pytest.mark.parametrize(
    ("free", "state"), [(10**8, "broken"), (5 * 10**9, "notice"), (10**11, "ok")]
)
def test_room_for_a_run(free, state):
    assert here.room(free, Path("/data"))[0].state == state


def test_a_folder_for_a_run(tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert "cannot be written to" in bad(here.storage(file)).seen
    assert here.storage(tmp_path)[0].check == "storage"


def test_mlflow_is_asked_and_no_database_made(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert here.mlflow(None, tmp_path)[0].state == "ok"
    assert list(tmp_path.iterdir()) == []
    finding = bad(here.mlflow("http://127.0.0.1:9", tmp_path))
    assert finding.state == "broken"
    assert "--tracking-uri http://127.0.0.1:9" in finding.seen
    assert "start it with `mlflow server`" in finding.remedy


def test_the_table_has_remedies_and_no_passwords():
    console = Console(file=io.StringIO(), width=100)
    finding = checks.Finding("mlflow", "broken", "http://me:secret@host does not answer", "go")
    table.show(console, [finding])
    said = console.file.getvalue()
    assert "http://host does not answer" in said
    assert "-> go" in said
    assert table.line(finding).endswith("; go")
