import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest

from folds.errors import RunError
from folds.training.outcome import VALUES, FoldOutcome
from tests.distributed.finished import fold_of, problem_of


@pytest.fixture(scope="module")
def outcome():
    problem = problem_of(
        folds=3, holdout=0.2, tta="flips", shift="fast", externals=("lab2", "lab3")
    )
    return fold_of(problem, 0, 1).outcome


def assert_same(one, two):
    assert type(one) is type(two)
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(two, field.name)
        if field.name == "corrupted":
            assert_same(a, b)
        elif field.name in ("other_views", "external"):
            assert list(a) == list(b)
            for name, array in a.items():
                np.testing.assert_array_equal(array, b[name], strict=True)
        elif isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, strict=True)
        else:
            assert a == b


def test_what_is_written_reads_back_as_the_same(outcome, tmp_path):
    outcome.write(tmp_path)
    assert_same(outcome, FoldOutcome.read(tmp_path))


def test_without_other_views_external_and_corrupted_images_too(tmp_path):
    plain = fold_of(problem_of(folds=3), 0, 1).outcome
    plain.write(tmp_path)
    assert_same(plain, FoldOutcome.read(tmp_path))


def test_the_file_that_makes_a_fold_complete_comes_last(outcome, tmp_path):
    broken = replace(outcome, measured={"accuracy": object()})
    with pytest.raises(TypeError):
        broken.write(tmp_path)
    assert not (tmp_path / VALUES).exists()


def test_a_folder_that_cannot_be_made_is_one_line(outcome, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written"):
        outcome.write(tmp_path / "file")


def test_it_needs_no_torch():
    code = "import folds.training.outcome, sys; assert not {'torch', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
