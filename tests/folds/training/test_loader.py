import dataclasses

import numpy as np
import pytest
import torch

from folds.images.pixelfile import PixelWriter
from folds.runtime.device import Runtime
from folds.training.fit import fit_fold
from folds.training.loader import BatchLoader

CPU = torch.device("cpu")
PIXELS = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 3), dtype=np.uint8)


def stored(folder, pixels):
    with PixelWriter(folder / "pixels.npy", pixels.shape) as writer:
        writer.write(np.arange(len(pixels)), pixels)
        return writer.finish()


def places(folder):
    """Every way images can live on this machine."""
    yield BatchLoader(PIXELS, CPU)
    yield BatchLoader(stored(folder, PIXELS), CPU)
    if torch.cuda.is_available():
        for pixels in (PIXELS, stored(folder, PIXELS)):
            for room in (None, 0):
                yield BatchLoader(pixels, torch.device("cuda"), room=room)


@pytest.mark.parametrize("sizes", [[], [1], [8, 8, 8], [5, 0, 7], [50]])
def test_batches_are_the_rows_wherever_the_images_live(tmp_path, sizes):
    rng = np.random.default_rng(1)
    parts = [rng.integers(0, 50, size) for size in sizes]
    for loader in places(tmp_path):
        found = list(loader.batches(parts))
        assert len(found) == len(parts)
        for rows, (told, batch) in zip(parts, found, strict=True):
            np.testing.assert_array_equal(told.cpu().numpy(), rows)
            assert batch.dtype == torch.uint8
            np.testing.assert_array_equal(batch.cpu().numpy(), PIXELS[rows])


def only(loader, rows):
    """The images of one batch."""
    [(_, pixels)] = loader.batches([np.array(rows)])
    return pixels


def test_memory_on_the_cpu_is_viewed_and_not_copied():
    pixels = PIXELS.copy()
    loader = BatchLoader(pixels, CPU)
    pixels[2] = 9
    assert (only(loader, [2]) == 9).all()


def test_a_row_that_is_not_there_is_an_error_of_the_caller(tmp_path):
    for loader in places(tmp_path):
        if loader._device == CPU:
            with pytest.raises(IndexError):
                list(loader.batches([np.array([1]), np.array([50])]))


def test_the_next_batch_is_fetched_before_it_is_asked_for_and_no_further(tmp_path, monkeypatch):
    loader = BatchLoader(stored(tmp_path, PIXELS), CPU)
    fetched = []

    def fetch(self, rows, _plain=BatchLoader._fetch):
        fetched.append(rows.tolist())
        return _plain(self, rows)

    monkeypatch.setattr(BatchLoader, "_fetch", fetch)
    batches = loader.batches([np.array([row]) for row in range(5)])
    for given in range(1, 4):
        next(batches)
        assert fetched[:given] == [[row] for row in range(given)]
        assert len(fetched) <= given + 1
    batches.close()
    assert len(fetched) <= 4


def test_a_fold_is_the_same_from_a_file(tmp_path, make_problem, make_images):
    problem = make_problem(make_images())
    images = problem.images
    other = dataclasses.replace(images, pixels=stored(tmp_path, images.pixels))
    runtime = Runtime.choose("cpu", "fp32")
    one, two = (
        fit_fold(p, 0, 0, runtime=runtime)
        for p in (problem, dataclasses.replace(problem, images=other))
    )
    np.testing.assert_array_equal(one.probabilities, two.probabilities)
    for name, tensor in one.weights.items():
        assert torch.equal(tensor, two.weights[name]), name
