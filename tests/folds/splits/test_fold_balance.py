import numpy as np
import pytest

from folds.config import SplitConfig
from folds.splits.fold_balance import class_counts, split_notices
from folds.splits.make import make_splits
from folds.splits.manifest import SplitManifest
from tests.folds.splits.test_make import image_set


def manifest(images, fold):
    return SplitManifest(images.ids, images.groups, np.array(fold), 2, "by hand", {})


UNEVEN = image_set([0] * 8 + [1] * 4, [0, 0, 0, 0, 0, *range(1, 8)])


def test_counts_of_each_part_and_their_ideal():
    counts, ideal = class_counts(manifest(UNEVEN, [[0] * 6 + [1, -1, 0, 1, 1, -1]]), UNEVEN)
    assert counts.tolist() == [[[1, 1], [6, 1], [1, 2]]]
    assert ideal == pytest.approx(np.array([[8 / 6, 4 / 6], [3.5, 1.5], [3.5, 1.5]]))


def test_the_worst_count_is_named():
    made = manifest(UNEVEN, [[0] * 6 + [1, 1, 0, 0, 1, 1]])
    counts, ideal = class_counts(made, UNEVEN)
    assert np.abs(counts - ideal).max() == 2
    assert split_notices(made, UNEVEN) == [
        "folds are even to within 2.0 images of each class; farthest is class 'c0' in fold 1: "
        "6 images instead of 4.0"
    ]


def test_the_repeat_is_named_where_there_are_several():
    even, uneven = [0] * 5 + [1, 1, 1, 0, 0, 1, 1], [0] * 6 + [1, 1, 0, 0, 1, 1]
    assert "in repeat 2 fold 1" in split_notices(manifest(UNEVEN, [even, uneven]), UNEVEN)[0]


def test_a_deviation_by_rounding_is_not_named():
    images = image_set([0, 1] * 3, [0, 0, 1, 2, 3, 4])
    found = split_notices(manifest(images, [[0, 0, 0, 1, 1, 1]]), images)
    assert found == ["folds are even to within 0.5 images of each class"]


def test_without_groups_and_holdout_there_is_nothing_to_tell():
    images = image_set([0, 1] * 10)
    assert split_notices(make_splits(images, SplitConfig(folds=3)), images) == []


def test_the_holdout_is_told_and_what_it_lacks():
    images = image_set([0] * 40 + [1] * 3)
    made = make_splits(images, SplitConfig(folds=2, holdout=0.1))
    assert split_notices(made, images) == ["4 of 43 images are the hold-out; it has none of c1"]
