import numpy as np
import pytest

from folds.augment import sheet as sheets
from folds.config.policies import PRESETS


def cells(picture, rows, columns):
    """The cells of a sheet, found by their place from the lower right corner."""
    side, gap, margin = sheets._CELL, sheets._GAP, sheets._MARGIN
    content = np.asarray(picture)
    bottom = picture.height - margin - gap
    found = np.empty((rows, columns), object)
    for row in range(rows):
        low = bottom - (rows - 1 - row) * (side + gap)
        for column in range(columns):
            right = picture.width - margin - gap - (columns - 1 - column) * (side + gap)
            found[row, column] = content[low - side : low, right - side : right]
    return found


class TestSheet:
    @pytest.mark.parametrize("policy", PRESETS)
    def test_draws_every_policy(self, make_images, policy):
        picture = sheets.sheet(make_images(), policy, size=32, columns=2)
        assert picture.mode == "RGB"

    def test_shows_each_class_and_its_augmentations(self, make_images):
        images = make_images()
        picture = sheets.sheet(images, "flip_horizontal", size=32, rows=2, columns=3)
        found = cells(picture, 6, 3)
        for row in range(6):  # a mirror image in every epoch is the same mirror image
            assert np.array_equal(found[row, 0], found[row, 1])
        assert not np.array_equal(found[0, 0], found[1, 0])

    def test_without_augmentation_all_are_the_original(self, make_images):
        found = cells(sheets.sheet(make_images(), "none", size=32, columns=2), 3, 2)
        for row in found:
            assert np.array_equal(row[0], row[1])

    def test_is_the_same_twice_and_another_with_another_seed(self, make_images):
        one, two, other = (
            sheets.sheet(make_images(), "strong", size=32, columns=2, seed=seed)
            for seed in (1, 1, 2)
        )
        assert one.tobytes() == two.tobytes()
        assert one.size != other.size or one.tobytes() != other.tobytes()

    def test_many_classes_are_cut(self, make_images):
        picture = sheets.sheet(make_images((3,) * 30), "none", size=32, columns=1)
        assert picture.height < 26 * (sheets._CELL + sheets._GAP)
