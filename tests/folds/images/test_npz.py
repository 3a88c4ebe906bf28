import contextlib
import io
import os
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from folds.config import DataConfig
from folds.errors import UserError
from folds.images import load, load_unlabelled, pixelfile
from folds.images.npz import NpzSource

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


class Trap:
    """Unpickling makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def read(tmp_path):
    def save_and_load(*, largest=64, **arrays):
        path = tmp_path / "set.npz"
        np.savez(path, **arrays)
        return load(DataConfig(data=str(path)), seed=0, largest=largest)

    return save_and_load


class TestAn2dl:
    @pytest.mark.parametrize("shape", [(6,), (6, 1)])
    @pytest.mark.parametrize("kind", [np.uint8, np.int64])
    def test_labels_flat_or_in_a_column(self, read, shape, kind):
        images = read(images=PIXELS, labels=LABELS.reshape(shape).astype(kind))
        assert images.labels.tolist() == LABELS.tolist()
        assert images.labels.dtype == np.int64
        assert images.class_names == ("0", "1", "2")
        assert (images.pixels == PIXELS).all()
        assert images.ids[0] == "0000000"
        assert images.notices == ()

    @pytest.mark.parametrize("grey", [PIXELS[..., 0], PIXELS[..., :1]])
    def test_grey_is_repeated(self, read, grey):
        images = read(images=grey, labels=LABELS)
        assert images.pixels.shape == (6, 8, 8, 3)
        assert (images.pixels == PIXELS[..., :1]).all()

    @pytest.mark.parametrize("kind", [np.int32, np.str_])
    def test_groups_of_the_file(self, read, kind):
        groups = np.array([7, 8, 7, 9, 9, 8]).astype(kind)
        assert read(images=PIXELS, labels=LABELS, groups=groups).groups.tolist() == list("787998")

    @pytest.mark.parametrize("groups", [LABELS[:5], LABELS / 2, LABELS.reshape(2, 3), LABELS[0]])
    def test_other_groups_are_refused(self, read, groups):
        with pytest.raises(UserError, match=r"groups have .* for each of the 6 images"):
            read(images=PIXELS, labels=LABELS, groups=groups)

    def test_ids_of_the_file(self, read, tmp_path):
        ids = np.array(["p1/a", "p1/b", "p2/a", "p2/b", "p3/a", "p3/b"])
        images = read(images=PIXELS, labels=LABELS, ids=ids)
        assert images.ids.tolist() == images.groups.tolist() == ids.tolist()
        assert load_unlabelled(str(tmp_path / "set.npz"), size=8).ids.tolist() == ids.tolist()
        assert (
            read(images=PIXELS, labels=LABELS, ids=ids.astype(bytes)).ids.tolist() == ids.tolist()
        )

    def test_ids_that_are_not_unique_are_refused_with_the_remedy(self, read):
        with pytest.raises(UserError, match=r"ids are not unique \(0, 1, 2\); .* array groups"):
            read(images=PIXELS, labels=LABELS, ids=LABELS)

    @pytest.mark.parametrize("name", ["ids", "groups"])
    def test_empty_names_are_refused(self, read, name):
        with pytest.raises(UserError, match=f"1 of 6 {name} are empty; fill them"):
            read(images=PIXELS, labels=LABELS, **{name: np.array(["", *"abcde"])})

    def test_class_names_of_the_file(self, read):
        names = np.array(["ant", "bee", "cat"])
        assert read(images=PIXELS, labels=LABELS, class_names=names).class_names == tuple(names)

    def test_class_names_without_images_are_left_out(self, read):
        names = np.array(["ant", "bee", "cat"])
        images = read(images=PIXELS, labels=np.array([0, 2, 2, 0, 2, 2]), class_names=names)
        assert images.class_names == ("ant", "cat")
        assert images.counts == {"ant": 2, "cat": 4}

    def test_byte_strings_are_text(self, read):
        names = np.array(["ant", "bee", "c\xe4t"])
        encoded = np.strings.encode(names, "utf-8")
        assert read(images=PIXELS, labels=LABELS, class_names=encoded).class_names == tuple(names)
        assert read(images=PIXELS, labels=encoded[LABELS]).class_names == tuple(names)
        groups = encoded[[0, 0, 1, 1, 2, 2]]
        assert set(read(images=PIXELS, labels=LABELS, groups=groups).groups) == set(names)

    @pytest.mark.parametrize("name", ["class_names", "labels", "groups"])
    def test_byte_strings_of_another_encoding_are_refused(self, read, name):
        latin = np.array([b"Bl\xe4st", b"bee", b"cat"])
        latin = latin if name == "class_names" else latin[LABELS]
        with pytest.raises(UserError, match=rf"{name} holds b'Bl\\xe4st', which is not UTF-8"):
            read(**{"images": PIXELS, "labels": LABELS, name: latin})

    @pytest.mark.parametrize("names", [np.array("ant"), np.array([["a", "b", "c"]]), np.ones(3)])
    def test_class_names_of_other_shapes_are_refused(self, read, names):
        with pytest.raises(UserError, match=r"class_names have shape .* one string for each class"):
            read(images=PIXELS, labels=LABELS, class_names=names)

    def test_text_labels_are_class_names(self, read):
        images = read(images=PIXELS, labels=np.array(list("babbab")))
        assert images.class_names == ("a", "b")
        assert images.labels.tolist() == [1, 0, 1, 1, 0, 1]

    def test_gaps_between_labels_close(self, read):
        images = read(images=PIXELS, labels=LABELS * 10)
        assert images.class_names == ("0", "10", "20")
        assert images.labels.max() == 2

    def test_large_images_are_reduced(self, read):
        assert read(largest=4, images=PIXELS, labels=LABELS).pixels.shape == (6, 4, 4, 3)

    def test_real_challenge_file(self, shared):
        images = load(DataConfig(data=str(shared / "data/an2dl_like.npz")), seed=0, largest=96)
        assert images.pixels.shape[1:] == (96, 96, 3)
        assert len(images.class_names) == 8
        assert len(images) == 820


class TestMedmnist:
    ARRAYS = {  # noqa: RUF012
        "train_images": PIXELS[:3], "train_labels": LABELS[:3, None],
        "val_images": PIXELS[3:5], "val_labels": LABELS[3:5, None],
        "test_images": PIXELS[5:], "test_labels": LABELS[5:, None],
    }  # fmt: skip

    def test_train_and_val_are_pooled_and_test_is_left_out_with_a_notice(self, read):
        images = read(**self.ARRAYS)
        assert (images.pixels == PIXELS[:5]).all()
        assert images.labels.tolist() == [0, 1, 2, 0, 1]
        assert images.ids.tolist() == [
            "train/0000000", "train/0000001", "train/0000002", "val/0000000", "val/0000001",
        ]  # fmt: skip
        assert images.notices == ("the file's test part (1 images) is in no fold",)

    def test_columns_of_each_part(self, read):
        groups = {"train_groups": np.array([7, 7, 8]), "val_groups": np.array([8, 9])}
        images = read(**self.ARRAYS, **groups)
        assert images.groups.tolist() == ["7", "7", "8", "8", "9"]

    @pytest.mark.parametrize("name", ["groups", "train_groups"])
    def test_columns_of_some_parts_are_refused(self, read, name):
        with pytest.raises(UserError, match=r"has groups but no array '(train|val)_groups'; save"):
            read(**self.ARRAYS, **{name: LABELS[:3]})

    def test_train_alone_has_no_notice(self, read):
        images = read(train_images=PIXELS, train_labels=LABELS)
        assert len(images) == 6
        assert images.notices == ()

    def test_every_part_is_predicted(self, tmp_path):
        np.savez(tmp_path / "set.npz", **self.ARRAYS)
        found = load_unlabelled(str(tmp_path / "set.npz"), size=64)
        pixels, ids = found.pixels, found.ids
        assert (pixels == PIXELS).all()
        assert ids[-1] == "test/0000000"

    def test_parts_of_other_sizes_are_refused(self, read):
        with pytest.raises(UserError, match="val_images"):
            read(**{**self.ARRAYS, "val_images": PIXELS[3:5, :4, :4]})

    def test_labels_of_other_shapes_are_refused_or_read(self, read):
        assert len(read(**{**self.ARRAYS, "val_labels": LABELS[3:5]})) == 5

    def test_labels_missing_in_a_part_are_refused(self, read):
        arrays = {k: v for k, v in self.ARRAYS.items() if k != "val_labels"}
        with pytest.raises(UserError, match="no array 'val_labels'; found"):
            read(**arrays)


def test_prediction_needs_no_labels(tmp_path):
    np.savez(tmp_path / "set.npz", images=PIXELS)
    found = load_unlabelled(str(tmp_path / "set.npz"), size=4)
    pixels, ids = found.pixels, found.ids
    assert pixels.shape == (6, 8, 8, 3)
    assert len(ids) == 6


class TestRefusals:
    @pytest.mark.parametrize(
        ("arrays", "reason"),
        [
            ({"images": PIXELS / 255, "labels": LABELS}, "dtype float64; save uint8"),
            ({"images": PIXELS.astype(np.int64), "labels": LABELS}, "dtype int64; save uint8"),
            ({"images": PIXELS[0], "labels": LABELS}, "8 images but 6 labels"),
            ({"images": PIXELS[..., :2], "labels": LABELS}, r"shape \(6, 8, 8, 2\); expected"),
            ({"images": PIXELS[:0], "labels": LABELS[:0]}, "N at least 1"),
            ({"images": PIXELS[0, 0], "labels": LABELS}, r"shape \(8, 3\); expected"),
            ({"images": PIXELS, "labels": LABELS[:5]}, "6 images but 5 labels"),
            ({"images": PIXELS, "labels": LABELS * 1.0}, "labels have dtype float64; save int"),
            ({"images": PIXELS, "labels": np.eye(6, dtype=int)}, r"labels have shape \(6, 6\)"),
            ({"images": PIXELS, "labels": LABELS * 0}, r"only one class \(0\)"),
            ({"images": PIXELS}, "no array 'labels'; found images"),
            ({"pictures": PIXELS, "labels": LABELS}, "expected arrays 'images'.*found pictures"),
            ({"test_images": PIXELS, "test_labels": LABELS}, "expected arrays"),
            (
                {"images": PIXELS, "labels": LABELS, "class_names": np.array(["a", "b"])},
                "labels run from 0 to 2 but there are 2 class_names; number the classes from 0",
            ),
            (
                {"images": PIXELS, "labels": LABELS - 1, "class_names": np.array(list("abc"))},
                "labels run from -1",
            ),
        ],
    )
    def test_wrong_arrays_are_told(self, read, arrays, reason):
        with pytest.raises(UserError, match=reason) as caught:
            read(**arrays)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("name", ["images", "labels", "class_names"])
    def test_object_arrays_are_never_unpickled(self, read, tmp_path, name):
        trap = np.empty(6, dtype=object)
        trap[:] = [Trap(tmp_path / "sprung")] * 6
        with pytest.raises(UserError, match="holds object arrays, which could run code"):
            read(**{"images": PIXELS, "labels": LABELS, name: trap})
        assert not (tmp_path / "sprung").exists()

    def test_missing_file_names_the_nearest(self, tmp_path):
        np.savez(tmp_path / "cells.npz", images=PIXELS, labels=LABELS)
        with pytest.raises(UserError, match=r"no such file or folder; nearest: .*/cells\.npz"):
            load(DataConfig(data=str(tmp_path / "cell.npz")), seed=0, largest=8)

    def test_misspelt_built_in_names_the_nearest(self):
        with pytest.raises(UserError, match="--data dem: no such file or folder; nearest: demo"):
            load(DataConfig(data="dem"), seed=0, largest=8)

    def test_another_kind_of_file_is_refused(self, tmp_path):
        (tmp_path / "set.txt").write_text("a,b\n")
        with pytest.raises(UserError, match=r"set\.txt: not an \.npz file; give one, a \.csv"):
            load(DataConfig(data=str(tmp_path / "set.txt")), seed=0, largest=8)


def whole(compressed):
    buffer = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(buffer, images=PIXELS // 32, labels=LABELS)
    return buffer.getvalue()


class TestDamaged:
    def refused(self, path, content):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"not a readable|holds object|expected|no array"):
            load(DataConfig(data=str(path)), seed=0, largest=8)

    @pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04" + bytes(99)])
    def test_no_zip_is_refused(self, tmp_path, content):
        self.refused(tmp_path / "set.npz", content)

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
    def test_cut_file_is_refused(self, tmp_path, share):
        content = whole(compressed=True)
        self.refused(tmp_path / "set.npz", content[: int(len(content) * share)])

    def test_a_lone_array_is_refused(self, tmp_path):
        buffer = io.BytesIO()
        np.save(buffer, PIXELS)
        self.refused(tmp_path / "set.npz", buffer.getvalue())

    def test_a_zip_of_other_files_is_refused(self, tmp_path):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("images", b"text")
        self.refused(tmp_path / "set.npz", buffer.getvalue())

    @settings(
        max_examples=150,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.booleans(), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
    def test_a_flipped_byte_is_read_or_refused(self, tmp_path, compressed, place, change):
        content = bytearray(whole(compressed))
        content[int(place * len(content))] ^= change
        path = tmp_path / "set.npz"
        path.write_bytes(content)
        with contextlib.suppress(UserError):
            images = load(DataConfig(data=str(path)), seed=0, largest=8)
            assert (images.pixels == PIXELS // 32).all()


class TestStream:
    """Pixels into a file are those that `load` gives."""

    @staticmethod
    def both(folder, *, largest=64, limit=None, save=np.savez, **arrays):
        save(folder / "set.npz", **arrays)
        config = DataConfig(data=str(folder / "set.npz"), limit=limit)
        target = folder / "pixels.npy"
        stored = NpzSource(folder / "set.npz", largest, True, limit, seed=3).decode_to(target)
        return load(config, seed=3, largest=largest), stored

    @pytest.fixture(autouse=True)
    def _small_pieces(self, monkeypatch):
        monkeypatch.setattr(pixelfile, "_PIECE", 400)  # two images

    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    @pytest.mark.parametrize("limit", [None, 3, 4])
    @pytest.mark.parametrize("largest", [64, 4])
    @pytest.mark.parametrize("grey", [False, True])
    def test_equals_memory(self, tmp_path, save, limit, largest, grey):
        arrays = {"images": PIXELS[..., 0] if grey else PIXELS, "labels": LABELS}
        arrays["groups"] = LABELS + 4
        memory, stored = self.both(tmp_path, largest=largest, limit=limit, save=save, **arrays)
        np.testing.assert_array_equal(memory.pixels, stored.pixels[:])
        assert (memory.ids == stored.ids).all()
        assert (memory.groups == stored.groups).all()
        assert memory.digest == stored.digest

    @pytest.mark.parametrize("limit", [None, 4])
    def test_medmnist_equals_memory(self, tmp_path, limit):
        memory, stored = self.both(tmp_path, limit=limit, **TestMedmnist.ARRAYS)
        np.testing.assert_array_equal(memory.pixels, stored.pixels[:])
        assert memory.digest == stored.digest
        assert memory.notices == stored.notices

    @pytest.mark.parametrize(
        ("images", "words"),
        [
            (PIXELS.astype(np.float32), "dtype float32"),
            (PIXELS[..., :2], r"shape \(6, 8, 8, 2\)"),
            (PIXELS[:5], "5 images but 6 labels"),
            (PIXELS.astype(object), "object arrays"),
        ],
    )
    def test_errors_are_those_of_memory(self, tmp_path, images, words):
        np.savez(tmp_path / "set.npz", images=images, labels=LABELS)
        for read in (
            lambda: load(DataConfig(data=str(tmp_path / "set.npz")), seed=0, largest=64),
            lambda: NpzSource(tmp_path / "set.npz", 64, True, None, 0).decode_to(
                tmp_path / "p.npy"
            ),
        ):
            with pytest.raises(UserError, match=words):
                read()

    def test_fortran_order_is_refused_with_a_remedy(self, tmp_path):
        with pytest.raises(UserError, match="ascontiguousarray"):
            self.both(tmp_path, images=np.asfortranarray(PIXELS), labels=LABELS)

    def test_a_damaged_file_is_named(self, tmp_path):
        path = tmp_path / "set.npz"
        np.savez(path, images=PIXELS, labels=LABELS)
        content = bytearray(path.read_bytes())
        content[600] ^= 1  # a pixel: the checksum tells
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"not a readable \.npz file \(Bad CRC"):
            NpzSource(path, 64, True, None, 0).decode_to(tmp_path / "pixels.npy")

    @pytest.mark.parametrize(("largest", "side"), [(64, 8), (4, 4)])
    def test_the_size_is_told_beforehand(self, tmp_path, largest, side):
        np.savez_compressed(tmp_path / "set.npz", images=PIXELS[..., 0], labels=LABELS)
        source = NpzSource(tmp_path / "set.npz", largest, True, None, 0)
        assert source.nbytes == 6 * side * side * 3
