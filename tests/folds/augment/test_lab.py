import kornia.color as kc
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from folds.augment.lab import moved, random_reinhard, statistics, to_lab
from tests.folds.augment.pictures import images, numbers, smooth


def muted(count=6):
    """Images that a moderate change of colour does not drive out of [0, 1]."""
    return smooth(count) * 0.2 + 0.4


class TestRandomReinhard:
    @settings(max_examples=20)
    @given(own=st.lists(st.floats(0, 1, exclude_max=True, width=32), min_size=6, max_size=6))
    def test_moves_each_mean_and_spread_as_far_as_was_drawn(self, own):
        image, spread = muted(1), 0.05 * (2 * torch.tensor(own) - 1)
        lab, found = (
            kc.rgb_to_lab(i) for i in (image, random_reinhard(image, np.float32([own]), 0.05))
        )
        change = found.mean((2, 3)) - lab.mean((2, 3))
        assert_close(change[0], 100 * spread[:3], atol=0.05, rtol=0)
        factor = found.std((2, 3)) / lab.std((2, 3))
        assert_close(factor[0], spread[3:].exp(), atol=0.01, rtol=0)

    def test_without_strength_changes_nothing(self):
        image = images()
        assert_close(random_reinhard(image, numbers(6, 6), max=0.0), image, atol=1e-4, rtol=0)


class TestMoved:
    def test_gives_an_image_the_statistics_of_another(self):
        ours, theirs = to_lab(muted(8)), statistics(to_lab(muted(8).flip(0)))
        own = statistics(ours)
        found = statistics(to_lab(moved(ours, theirs.mean - own.mean, theirs.spread / own.spread)))
        assert_close(found.mean, theirs.mean, atol=0.1, rtol=0)
        assert_close(found.spread, theirs.spread, atol=0.1, rtol=0)


class TestStatistics:
    def test_an_even_images_spread_is_held_at_one_unit(self):
        found = statistics(to_lab(torch.full((2, 3, 8, 8), 0.4)))
        assert torch.equal(found.spread, torch.ones(2, 3, 1, 1))
