import numpy as np
import torch

from folds import preview
from folds.shift import corrupt, keys_of, sheet
from folds.suite import CORRUPTIONS


def test_shows_each_corruption_at_each_severity():
    cell, gap, margin = preview._CELL, preview._GAP, preview._MARGIN
    image = torch.rand(3, cell, cell, generator=torch.Generator().manual_seed(0))
    key = keys_of(["a"])
    picture = sheet(image, key)
    top = picture.height - margin - len(CORRUPTIONS) * (cell + gap)
    left = picture.width - margin - (cell + gap)
    for row in (0, len(CORRUPTIONS) - 1):
        start = top + row * (cell + gap)
        shown = picture.crop((left, start, left + cell, start + cell))
        wanted = corrupt(image[None], key, CORRUPTIONS[row], 5)[0]
        wanted = (wanted * 255).round().byte().permute(1, 2, 0).numpy()
        assert np.array_equal(np.asarray(shown), wanted)
