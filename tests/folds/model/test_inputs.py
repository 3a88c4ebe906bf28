import base64
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from folds.images.resize import cover
from folds.model.inputs import batches

SIZE = 24


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def decoded(asked, *, batch=4, **rest):
    return [image for block in batches(asked, size=SIZE, batch=batch, **rest) for image in block]


def same(found, expected):
    assert len(found) == len(expected)
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


class TestArrays:
    @pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.uint32, np.int64])
    def test_of_any_whole_numbers(self, kind):
        images = noise(6, 16, 16, 3) // 2
        found = decoded(images.astype(kind))
        assert found[0].dtype == np.uint8
        same(found, list(images))

    def test_are_left_alone_where_small_and_square_else_covered(self):
        same(decoded(noise(2, 5, 5, 3)), list(noise(2, 5, 5, 3)))
        for shape in [(30, 30), (10, 40), (10, 12)]:
            images = noise(3, *shape, 3)
            same(decoded(images), [cover(Image.fromarray(image), SIZE) for image in images])

    @pytest.mark.parametrize("value", [-1, 256, 2**40])
    def test_other_values_are_refused(self, value):
        images = np.zeros((2, 8, 8, 3), np.int64)
        images[1, 2, 3, 0] = value
        with pytest.raises(ValueError, match=f"{value}.*expected 0 to 255"):
            decoded(images)

    @pytest.mark.parametrize(
        "images",
        [
            noise(2, 8, 8, 3) / 255,
            noise(2, 8, 8, 3) > 7,
            noise(8, 8, 3),
            noise(2, 8, 8),
            noise(2, 8, 8, 1),
            noise(2, 3, 8, 8),
            "images",
            None,
            [],
        ],
    )
    def test_other_arrays_are_refused(self, images):
        with pytest.raises(ValueError, match=r"images are .*; expected whole numbers .*height"):
            decoded(images)

    def test_of_no_images_give_no_batches(self):
        assert list(batches(noise(0, 8, 8, 3), size=SIZE, batch=4)) == []


@pytest.fixture(scope="module")
def images():
    return [noise(8, 8, 3), noise(40, 30, 3), noise(24, 24, 3), noise(9, 50, 3), noise(1, 1, 3)]


@pytest.fixture(scope="module")
def expected(images):
    return [decoded(image[None])[0] for image in images]


class TestTables:
    def test_of_files(self, images, expected):
        files = [encoded(image) for image in images]
        texts = [base64.b64encode(file).decode() for file in files]
        same(decoded(pd.DataFrame({"image": files})), expected)
        same(decoded(pd.DataFrame({"image": texts, "other": 1})), expected)
        same(decoded({"image": texts}), expected)
        same(decoded({"image": np.array(texts)}), expected)
        same(decoded([{"image": text} for text in texts]), expected)
        same(decoded({"image": texts[0]}), expected[:1])
        same(decoded({"image": ["data:image/png;base64," + text for text in texts]}), expected)

    def test_of_paths(self, images, expected, tmp_path, monkeypatch):
        for number, image in enumerate(images):
            (tmp_path / str(number)).write_bytes(encoded(image))
        monkeypatch.chdir(tmp_path)
        names = [str(number) for number in range(len(images))]
        same(decoded({"path": names}), expected)
        same(decoded({"path": [str(tmp_path / name) for name in names]}, folder=tmp_path), expected)

    @given(batch=st.integers(1, 7), order=st.permutations(range(5)))
    @settings(max_examples=20)
    def test_neither_batches_nor_neighbours_matter(self, images, expected, batch, order):
        asked = pd.DataFrame({"image": [encoded(images[n]) for n in order]}, index=order)
        same(decoded(asked, batch=batch), [expected[n] for n in order])

    def test_grey_and_transparent_images_become_rgb(self):
        grey, clear = noise(8, 8), noise(8, 8, 4)
        found = decoded({"image": [encoded(grey), encoded(clear)]})
        share = clear[..., 3:] / 255
        same(found[:1], [np.stack([grey] * 3, axis=2)])
        white = clear[..., :3] * share + 255 * (1 - share)
        assert np.abs(found[1] - white).max() <= 1

    def test_one_batch_is_decoded_at_a_time(self):
        """The second batch is broken, and the first comes all the same."""
        asked = {"image": [encoded(noise(8, 8, 3))] * 4 + [b"broken"]}
        found = batches(asked, size=SIZE, batch=4)
        assert len(next(found)) == 4
        with pytest.raises(ValueError, match="row 4"):
            next(found)

    @pytest.mark.parametrize(
        ("cell", "message"),
        [
            (b"nonsense", "cannot be read"),
            (encoded(noise(40, 40, 3))[:200], "cannot be read"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot be read"),
            ("no base64!", "not base64"),
            ("", "cannot be read"),
            (7, "is int, not text or bytes"),
            (None, "not text or bytes"),
        ],
    )
    def test_a_broken_image_is_named(self, cell, message):
        good = encoded(noise(8, 8, 3))
        asked = pd.DataFrame({"image": pd.Series([good, good, cell], dtype=object)})
        with pytest.raises(ValueError, match=f"^row 2: .*{message}"):
            decoded(asked)

    def test_a_format_that_is_executed_is_refused(self, images):
        with pytest.raises(ValueError, match="row 0: the image cannot be read; use JPEG, PNG"):
            decoded({"image": [encoded(images[1], "EPS")]})

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(ValueError, match=f"row 0: no file {tmp_path}/none.png"):
            decoded({"path": [f"{tmp_path}/none.png"]})

    def test_no_paths_are_read_where_that_is_forbidden(self, tmp_path):
        (tmp_path / "a.png").write_bytes(encoded(noise(8, 8, 3)))
        with pytest.raises(ValueError, match=r"row 0: .*CROSSFOLD_SERVE_PATHS"):
            decoded({"path": [str(tmp_path / "a.png")]}, folder=None)

    @pytest.mark.parametrize("table", [{"picture": ["a"]}, {"image": ["a"], "path": ["a"]}, {}])
    def test_other_columns_are_refused(self, table):
        with pytest.raises(ValueError, match="needs a column 'image' or 'path', one of them; has"):
            decoded(pd.DataFrame(table))
