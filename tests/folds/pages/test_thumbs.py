import base64
import io

import numpy as np
import pytest
from PIL import Image

from folds.pages.thumbs import FAINT, overlay

GREY = np.full((48, 64, 3), 120, np.uint8)


def read(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))).astype(int)


def test_heat_is_laid_over_the_centre_square():
    heat = np.zeros((4, 4), np.float32)
    heat[0, 3], heat[3, 0] = 2, -5  # what speaks against is not shown
    changed = np.abs(read(overlay(GREY, heat)) - read(overlay(GREY, 0 * heat))).max(2)
    assert changed.shape == (48, 64)
    assert np.unravel_index(changed.argmax(), changed.shape) == pytest.approx((6, 50), abs=9)
    assert changed[:, :8].max() == changed[:, 56:].max() == changed[24:, :].max() == 0


@pytest.mark.parametrize(("most", "seen"), [(0.0, False), (FAINT / 50, False), (FAINT, True)])
def test_little_is_not_blown_up(most, seen):
    heat = np.full((4, 4), most, np.float32)
    assert (np.ptp(read(overlay(GREY, heat)), axis=2).max() > 40) == seen


def test_a_large_image_is_made_small():
    assert read(overlay(np.zeros((300, 150, 3), np.uint8), np.ones((8, 8), np.float32))).shape == (
        112, 56, 3,
    )  # fmt: skip
