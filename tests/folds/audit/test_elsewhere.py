import dataclasses
import re

import numpy as np

from folds.audit.elsewhere import looks_told
from folds.images.imageset import ImageSet
from tests.folds.adaptation.test_adaptation import discs


def image_set(seed, **options):
    pixels = (discs(120, seed=seed, **options) * 255).byte().permute(0, 2, 3, 1).numpy()
    ids = np.array([f"{seed}-{row}" for row in range(120)])
    labels = np.arange(120) % 2
    return ImageSet(np.ascontiguousarray(pixels), labels.astype(np.int64), ("a", "b"), ids, ids)


def test_images_like_trainings_are_not_told():
    assert looks_told(image_set(0), image_set(1), 48) == []


def test_another_framing_is_told():
    (line,) = looks_told(image_set(0), image_set(1, radius=(0.6, 0.7)), 48)
    assert "100% in how large the object is" in line
    assert re.search(r"size of the object (1\.[89]|2) times", line)


def test_another_light_is_told_with_the_corruption_that_makes_it():
    """Brightness in the suite multiplies; a corrupted set lies nearest to its own corruption."""
    ours = image_set(0)
    dim = dataclasses.replace(ours, pixels=(ours.pixels * 0.4).astype(np.uint8))
    (line,) = looks_told(ours, dim, 48)
    assert "100% in colour" in line
    assert "lightness 0.4 times" in line
    assert "brightness" in line.partition("of the corruptions")[2]
