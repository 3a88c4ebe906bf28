import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from folds.images import pixelfile
from folds.images.pixelfile import PixelFile, PixelWriter, pieces

SHAPE = (37, 4, 6, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)


def written(path, pixels=PIXELS):
    with PixelWriter(path, pixels.shape) as writer:
        writer.write(np.arange(len(pixels)), pixels)
        return writer.finish()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return written(tmp_path_factory.mktemp("file") / "pixels.npy")


class TestReading:
    def test_looks_like_the_array(self, file):
        assert (file.shape, file.dtype, file.ndim) == (PIXELS.shape, PIXELS.dtype, PIXELS.ndim)
        assert (len(file), file.nbytes) == (len(PIXELS), PIXELS.nbytes)

    def test_is_a_plain_npy_file(self, file):
        np.testing.assert_array_equal(np.load(file.path, allow_pickle=False), PIXELS)

    @given(rows=st.lists(st.integers(-37, 36), max_size=60))
    def test_rows_are_those_of_the_array(self, file, rows):
        rows = np.array(rows, dtype=np.int64)
        np.testing.assert_array_equal(file[rows], PIXELS[rows])

    @given(first=st.none() | st.integers(-50, 50), last=st.none() | st.integers(-50, 50))
    def test_slices_are_those_of_the_array(self, file, first, last):
        np.testing.assert_array_equal(file[first:last], PIXELS[first:last])

    @pytest.mark.parametrize("rows", [np.array([37]), np.array([0, -38])])
    def test_rows_that_are_not_there(self, file, rows):
        with pytest.raises(IndexError, match="of 37 images"):
            file[rows]

    def test_no_other_step(self, file):
        with pytest.raises(IndexError, match="step 1, not 2"):
            file[::2]

    def test_more_bytes_than_one_read_gives(self, file, monkeypatch):
        monkeypatch.setattr(pixelfile, "_PIECE", 50)
        np.testing.assert_array_equal(file[:], PIXELS)

    def test_travels_as_its_path(self, file):
        file[:1]
        content = pickle.dumps(file)
        assert len(content) < 500
        np.testing.assert_array_equal(pickle.loads(content)[:], PIXELS)

    def test_threads_read_at_the_same_time(self, file):
        orders = [np.random.default_rng(seed).permutation(len(PIXELS)) for seed in range(64)]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda rows: file[rows], orders))
        for rows, pixels in zip(orders, found, strict=True):
            np.testing.assert_array_equal(pixels, PIXELS[rows])

    def test_a_file_cut_short_is_named(self, tmp_path):
        short = written(tmp_path / "short.npy")
        with short.path.open("r+b") as handle:
            handle.truncate(128 + PIXELS.nbytes - 1)
        np.testing.assert_array_equal(short[:36], PIXELS[:36])
        with pytest.raises(OSError, match=r"short\.npy: ends before image 36"):
            short[np.array([36])]

    @pytest.mark.parametrize(
        "array",
        [PIXELS.astype(np.int16), PIXELS[..., 0], PIXELS[..., :2], np.asfortranarray(PIXELS)],
    )
    def test_other_arrays_are_refused(self, tmp_path, array):
        np.save(tmp_path / "other.npy", array)
        with pytest.raises(ValueError, match="is not uint8"):
            PixelFile(tmp_path / "other.npy")


class TestWriting:
    @given(order=st.permutations(range(37)), cuts=st.lists(st.integers(0, 37), max_size=4))
    def test_blocks_may_come_in_any_order(self, tmp_path_factory, order, cuts):
        path = tmp_path_factory.mktemp("any") / "pixels.npy"
        with PixelWriter(path, SHAPE) as writer:
            for rows in np.split(np.array(order), sorted(cuts)):
                writer.write(rows, PIXELS[rows])
            found = writer.finish()
        np.testing.assert_array_equal(found[:], PIXELS)

    @given(kept=st.sets(st.integers(0, 36), min_size=1))
    def test_rows_are_left_out(self, tmp_path_factory, kept):
        path, rows = tmp_path_factory.mktemp("kept") / "pixels.npy", np.array(sorted(kept))
        with PixelWriter(path, SHAPE) as writer:
            writer.write(np.arange(37), PIXELS)
            found = writer.finish(rows)
        np.testing.assert_array_equal(np.load(path), PIXELS[rows])
        np.testing.assert_array_equal(found[:], PIXELS[rows])

    def test_a_copy_in_another_process_writes_the_same_file(self, tmp_path):
        with PixelWriter(tmp_path / "pixels.npy", SHAPE) as writer:
            other = pickle.loads(pickle.dumps(writer))
            other.write(np.arange(20), PIXELS[:20])
            writer.write(np.arange(20, 37), PIXELS[20:])
            np.testing.assert_array_equal(writer.finish()[:], PIXELS)

    def test_what_is_not_finished_is_not_there(self, tmp_path):
        with pytest.raises(ZeroDivisionError), PixelWriter(tmp_path / "pixels.npy", SHAPE):
            raise ZeroDivisionError
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("pixels", [PIXELS[:, :3], PIXELS.astype(np.float32)])
    def test_other_images_are_refused(self, tmp_path, pixels):
        with (
            PixelWriter(tmp_path / "pixels.npy", SHAPE) as writer,
            pytest.raises(ValueError, match="into a file of"),
        ):
            writer.write(np.arange(37), pixels)


@given(count=st.integers(0, 100), size=st.integers(1, 300))
def test_pieces_are_all_rows_in_order(count, size):
    rows = [row for part in pieces((count, size)) for row in range(part.start, part.stop)]
    assert rows == list(range(count))


def test_pieces_bound_what_is_held(monkeypatch):
    monkeypatch.setattr(pixelfile, "_PIECE", 1000)
    assert max(part.stop - part.start for part in pieces((50, 10, 10, 3))) == 3
    assert len(list(pieces((5, 100, 100, 3)))) == 5


class TestImageSet:
    def test_the_digest_does_not_tell_where_the_pixels_are(self, make_images, tmp_path):
        images = make_images((10, 12))
        stored = written(tmp_path / "pixels.npy", images.pixels)
        assert replace(images, pixels=stored).digest == images.digest
        assert replace(images, pixels=stored).take(np.array([3, 1])).digest == (
            images.take(np.array([3, 1])).digest
        )

    def test_one_bit_in_the_file_changes_the_digest(self, make_images, tmp_path):
        images = make_images((10, 12))
        pixels = images.pixels.copy()
        pixels[-1, -1, -1, -1] ^= 1
        other = written(tmp_path / "pixels.npy", pixels)
        assert replace(images, pixels=other).digest != images.digest

    def test_the_digest_is_that_of_all_bytes_at_once(self, make_images, monkeypatch):
        images = make_images((10, 12))
        whole = images.digest
        monkeypatch.setattr(pixelfile, "_PIECE", 7000)
        assert replace(images).digest == whole
