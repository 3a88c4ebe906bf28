import re

import numpy as np
import pytest

from folds.config import Config
from folds.errors import UserError
from folds.images.groups import named_groups
from folds.prepare import prepare
from tests.folds.splits.test_make import image_set


def named(names, pattern, **parts):
    images = image_set([0, 1] * (len(names) // 2))
    ids = np.array(names)
    parts = {"ids": ids, "groups": ids, **parts}
    return named_groups(type(images)(images.pixels, images.labels, ("a", "b"), **parts), pattern)


NAMES = ["x/p01_1.png", "y/p01_2.png", "x/p02_1.png", "y/q03_1.png"]


@pytest.mark.parametrize(
    "pattern", [r"/([pq]\d+)_", r"^(?:.*)/([^_]+)_(\d)", r"(\w)/(?P<group>\w\d\d)"]
)
def test_the_first_parentheses_or_those_called_group_name_it(pattern):
    assert named(NAMES, pattern).groups.tolist() == ["p01", "p01", "p02", "q03"]


def test_without_a_pattern_nothing_changes():
    images = image_set([0, 1])
    assert named_groups(images, None) is images


@pytest.mark.parametrize("pattern", [r"(p\d+)", r"(?:p\d+|q)(x)?", r"p(\d*)|q"])
def test_ids_without_a_group_are_refused_and_counted(pattern):
    with pytest.raises(UserError, match=re.escape(f"--group-regex {pattern!r}: names no group in")):
        named(NAMES, pattern)


def test_first_of_them_are_named():
    with pytest.raises(UserError, match=r"in 1 of 4 ids \(y/q03_1\.png\); change it so that"):
        named(NAMES, r"(p\d+)")


def test_beside_groups_of_the_data_it_is_refused():
    with pytest.raises(UserError, match=r"--group-regex '\(p\)': --data names groups itself"):
        named(NAMES, "(p)", groups=np.array(["1", "1", "2", "3"]))


def test_folds_keep_the_groups_together(make_images):
    settings = {
        "data": "digits", "limit": 100, "backbone": "test_resnet", "weights": "none", "folds": 2,
        "batch_size": 8, "group_regex": r"(\d\d)$",
    }  # fmt: skip
    problem = prepare(Config.from_flat(settings)).problem
    assert {name[-2:] for name in problem.images.ids} == set(problem.images.groups)
    for group in set(problem.images.groups):
        assert len(set(problem.splits.fold[0][problem.splits.groups == group])) == 1
