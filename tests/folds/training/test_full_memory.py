"""With a real limit of the address space: less at once, and the same results."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.folds.training.limited import passes, problem, trained


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("found")
    here, values = str(Path(__file__).parents[3]), {}
    for what, megabytes in (("passes", "20"), ("trained", "60")):
        path = folder / f"{what}.npz"
        done = subprocess.run(
            [sys.executable, "-m", "tests.folds.training.limited", what, str(path), megabytes],
            cwd=here, env=os.environ | {"PYTHONPATH": here}, capture_output=True, text=True,
            timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        with np.load(path) as file:
            values |= dict(file)
    return values


@pytest.fixture(scope="module")
def truth():
    one = problem()
    return passes(one) | trained(one)


@pytest.mark.parametrize("name", ["probabilities", "features", "trained"])
def test_results_are_those_with_all_memory_up_to_rounding(found, truth, name):
    np.testing.assert_allclose(found[name], truth[name], atol=1e-4)


def test_so_are_classes_under_corruptions(found, truth):
    assert (found["corrupted"] == truth["corrupted"]).mean() > 0.99


def test_less_was_computed_at_once(found, truth):
    assert (truth["most"], truth["most_features"], truth["parts"]) == (0, 0, 1)
    assert 0 < found["most"] < 128
    assert 0 < found["most_features"] < 128
    assert found["parts"] > 1
