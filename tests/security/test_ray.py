"""The Ray that a run starts for itself: nobody without its token gets in; no dashboard."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

BEGIN = """
import json, sys
from distributed import cluster
from distributed.planning.plan import Resources
cluster.set_environment(None)
cluster.start(None, Resources(1, 0, (1,)), verbose=False)
import ray
context = ray.get_runtime_context()
url = ray._private.worker.get_dashboard_url()
print(json.dumps({"address": context.gcs_address, "dashboard": url}))
sys.stdout.flush()
sys.stdin.read()
"""
JOIN = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, _node_ip_address=sys.argv[1].split(":")[0])
print("joined", ray.get(ray.remote(lambda: 1).remote()))
"""


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A local Ray in a process of its own: its address, and the process."""
    home = tmp_path_factory.mktemp("home")
    drop = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    environment = {k: v for k, v in os.environ.items() if k not in drop} | {"HOME": str(home)}
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN], env=environment, text=True, cwd=home,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    line = process.stdout.readline()
    if not line:
        pytest.fail(process.communicate()[1][-2000:])
    yield json.loads(line), process, environment
    process.communicate(timeout=60)


def join(begun, folder, **changed):
    told, _, environment = begun
    return subprocess.run(
        [sys.executable, "-c", JOIN, told["address"]], env=environment | changed, cwd=folder,
        capture_output=True, text=True, timeout=90,
    )  # fmt: skip


def test_who_has_the_token_may_join(begun, tmp_path):
    done = join(begun, tmp_path, RAY_AUTH_MODE="token")
    assert "joined 1" in done.stdout, done.stderr[-2000:]


@pytest.mark.parametrize(
    "changed",
    [{"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}, {"RAY_AUTH_MODE": "disabled"}],
    ids=["another token", "no token"],
)
def test_who_has_not_is_refused(begun, tmp_path, changed):
    done = join(begun, tmp_path, HOME=str(tmp_path), **changed)
    assert done.returncode != 0
    assert "joined" not in done.stdout
    assert "nauthenticated" in done.stderr or "token" in done.stderr.lower(), done.stderr[-2000:]


def test_there_is_no_dashboard(begun):
    assert not begun[0]["dashboard"]
