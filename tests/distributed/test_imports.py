"""Which heavy packages each kind of process imports: each costs its start a second or so."""

import subprocess
import sys

import pytest

HEAVY = {
    "kornia", "matplotlib", "mlflow", "pandas", "pyarrow", "ray", "scipy", "sklearn", "sqlalchemy",
    "timm", "torch", "torchvision",
}  # fmt: skip
LEARNING = {"kornia", "pandas", "pyarrow", "scipy", "timm", "torch", "torchvision"}
ALLOWED = {
    # what answers --help, and refuses a mistake in the flags
    "distributed.cv": set(),
    "distributed.tune": set(),
    "distributed.doctor": set(),
    "folds.inspect": set(),
    "tracking.predict": set(),
    "tracking.promote": set(),
    "tracking.ensemble": set(),
    "tracking.replay": set(),
    "distributed.job": LEARNING | {"matplotlib", "mlflow", "ray", "sklearn"},  # the main job
    "distributed.lanes.ledger": {"ray"},  # an actor of its own
    "distributed.health.node": set(),  # an actor on each machine
    "distributed.lanes.trainer": set(),  # what Ray Train's controllers read
    "distributed.lanes.lane": LEARNING | {"ray", "sklearn"},  # each worker
    "distributed.search.trainable": LEARNING | {"ray", "sklearn"},  # each worker of a search
    "tracking.flavor": LEARNING,  # a served model
}


@pytest.mark.parametrize("module", ALLOWED)
def test_a_process_imports_no_more_than_it_needs(module):
    code = (
        f"import sys, {module}; print(*sorted({HEAVY} & {{name.partition('.')[0] for name in "
        "sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= ALLOWED[module], done.stdout
