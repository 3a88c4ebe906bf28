import os
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from folds.config import DataConfig
from folds.errors import UserError
from folds.images import listing, load, load_unlabelled

FORMATS = ["a.jpg", "b.JPEG", "c.png", "d.bmp", "e.tif", "f.tiff", "g.webp"]


def picture(path, size=(12, 12), colour=(200, 40, 90), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)


def cut(path, share=0.6):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def noisy(path, side=24):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)


@pytest.fixture
def root(tmp_path):
    """Two classes of three images."""
    for name, colour in (("cat", (250, 0, 0)), ("dog", (0, 0, 250))):
        for number in range(3):
            picture(tmp_path / "set" / name / f"{number}.png", colour=colour)
    return tmp_path / "set"


def read(root, largest=64, **settings):
    return load(DataConfig(data=str(root), **settings), seed=0, largest=largest)


class TestClasses:
    def test_are_the_folders_in_order_of_name(self, root):
        images = read(root)
        assert images.class_names == ("cat", "dog")
        assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]
        assert images.ids.tolist() == [f"{c}/{n}.png" for c in ("cat", "dog") for n in range(3)]
        assert images.pixels[0, 0, 0].tolist() == [250, 0, 0]
        assert images.pixels[3, 0, 0].tolist() == [0, 0, 250]

    def test_images_may_lie_deeper(self, root):
        picture(root / "cat" / "more" / "x.png")
        assert "cat/more/x.png" in read(root).ids

    def test_order_of_the_listing_does_not_matter(self, root, monkeypatch):
        before = read(root).digest
        plain = os.scandir

        @contextmanager
        def backwards(folder):
            with plain(folder) as entries:
                yield list(entries)[::-1]

        monkeypatch.setattr(os, "scandir", backwards)
        assert read(root).digest == before

    def test_file_named_like_the_source_is_not_taken(self, root):
        (root / "readme.txt").write_text("outside the class folders")
        assert read(root).notices == ()


class TestFormats:
    def test_every_suffix_is_read(self, tmp_path):
        for name in FORMATS:
            for c in ("one", "two"):
                picture(tmp_path / c / name)
        images = read(tmp_path)
        assert len(images) == 2 * len(FORMATS)
        assert np.abs(images.pixels.astype(int) - [200, 40, 90]).max() < 12

    @pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
    def test_every_mode_becomes_rgb(self, root, mode):
        suffix = "tif" if mode == "CMYK" else "png"
        picture(root / "cat" / f"x.{suffix}", colour=(255, 255, 255), mode=mode)
        images = read(root)
        assert images.pixels.shape == (7, 12, 12, 3)
        assert (images.pixels[images.ids == f"cat/x.{suffix}"] == 255).all()

    def test_equal_small_squares_stay_as_they_are(self, root):
        assert read(root, largest=12).pixels.shape[1:] == (12, 12, 3)

    def test_large_images_are_reduced(self, root):
        assert read(root, largest=10).pixels.shape[1:] == (10, 10, 3)

    def test_mixed_sizes_become_the_size(self, root):
        picture(root / "dog" / "wide.png", (30, 12), (0, 0, 250))
        images = read(root, largest=16)
        assert images.pixels.shape[1:] == (16, 16, 3)
        assert (images.pixels[images.labels == 1] == [0, 0, 250]).all()

    def test_image_size_wins(self, root):
        assert read(root, image_size=8).pixels.shape[1:] == (8, 8, 3)


class TestPassedOver:
    def test_hidden_files_are_counted(self, root):
        picture(root / "cat" / ".hidden.png")
        picture(root / "cat" / ".thumbnails" / "x.png")
        images = read(root)
        assert len(images) == 6
        assert images.notices == ("2 hidden files skipped",)

    def test_hidden_folders_are_no_classes(self, root):
        picture(root / ".cache" / "x.png")
        picture(root / "__MACOSX" / "cat" / "._0.png")
        assert read(root).class_names == ("cat", "dog")

    def test_other_files_are_counted(self, root):
        (root / "dog" / "notes.txt").write_text("x")
        assert read(root).notices == (
            "1 file skipped: 1 file is .txt; read are .bmp, .jpeg, .jpg, .png, .tif, .tiff, .webp",
        )


class TestRefusals:
    def test_empty_folder(self, tmp_path):
        with pytest.raises(UserError, match="no class folders in it; put each class in a folder"):
            read(tmp_path)

    def test_images_without_class_folders(self, tmp_path):
        picture(tmp_path / "x.png")
        with pytest.raises(UserError, match="no class folders"):
            read(tmp_path)

    def test_empty_class(self, root):
        (root / "bird").mkdir()
        with pytest.raises(UserError, match="class folder 'bird' has no images; remove it"):
            read(root)

    @pytest.mark.parametrize("limit", [None, 2])
    def test_one_class(self, tmp_path, limit):
        for name in "abc":
            picture(tmp_path / "cat" / f"{name}.png")
        with pytest.raises(UserError, match=r"only one class \(cat\)"):
            read(tmp_path, limit=limit)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
class TestBroken:
    @pytest.mark.parametrize("name", FORMATS)
    def test_cut_file_is_named_and_counted(self, root, name):
        noisy(root / "cat" / name)
        cut(root / "cat" / name)
        with pytest.raises(UserError, match=rf"1 of 7 .*\(cat/{name}\).*--skip-broken"):
            read(root)

    @pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", bytes(999)])
    def test_no_image_at_all_is_named(self, root, content):
        (root / "dog" / "0.png").write_bytes(content)
        with pytest.raises(UserError, match=r"1 of 6 .*\(dog/0.png\)"):
            read(root)

    @pytest.mark.parametrize("name", FORMATS)
    def test_cut_anywhere_is_read_or_named(self, root, name):
        path = root / "cat" / name
        noisy(path, side=12)
        content = path.read_bytes()
        for length in range(0, len(content), max(1, len(content) // 60)):
            path.write_bytes(content[:length])
            images = read(root, skip_broken=True)
            assert len(images) in (6, 7)

    def test_skip_broken_leaves_it_out_and_records_it(self, root):
        noisy(root / "cat" / "x.png")
        cut(root / "cat" / "x.png")
        images = read(root, skip_broken=True)
        assert images.notices == ("1 unreadable file left out: cat/x.png",)
        assert len(images) == 6
        assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]

    def test_a_class_of_broken_files_is_refused(self, root):
        for path in (root / "dog").iterdir():
            cut(path, 0.3)
        with pytest.raises(UserError, match="class 'dog' has no readable image"):
            read(root, skip_broken=True)

    def test_only_broken_files_are_refused(self, root):
        for path in root.rglob("*.png"):
            cut(path, 0.3)
        with pytest.raises(UserError, match="none of the 6 image files can be read"):
            read(root, skip_broken=True)

    def test_a_decompression_bomb_is_named(self, root, monkeypatch):
        picture(root / "cat" / "bomb.png", (100, 100))
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        with pytest.raises(UserError, match=r"1 of 7 .*\(cat/bomb.png\)"):
            read(root)


class TestLimit:
    def test_is_stratified_and_reads_no_more(self, root, monkeypatch):
        for number in range(3, 12):
            picture(root / "cat" / f"{number}.png")
        seen = []
        plain = listing.read
        monkeypatch.setattr(
            listing, "read", lambda file, *rest: seen.append(file) or plain(file, *rest)
        )
        images = read(root, limit=5)
        assert images.counts == {"cat": 4, "dog": 1}
        assert len(seen) == 5

    def test_is_the_same_choice_as_of_all_images(self, root):
        everything = read(root)
        assert read(root, limit=4).digest == everything.limited(4, seed=0).digest


class TestUnlabelled:
    def test_reads_at_any_depth(self, tmp_path):
        picture(tmp_path / "a.png")
        picture(tmp_path / "b" / "c" / "d.jpg")
        picture(tmp_path / ".no" / "x.png")
        found = load_unlabelled(str(tmp_path), size=32)
        pixels, ids = found.pixels, found.ids
        assert ids.tolist() == ["a.png", "b/c/d.jpg"]
        assert pixels.shape == (2, 12, 12, 3)

    def test_nothing_there_is_refused(self, tmp_path):
        with pytest.raises(UserError, match=r"no image files \(\.bmp, .*\) in it"):
            load_unlabelled(str(tmp_path), size=32)

    def test_broken_is_named(self, tmp_path):
        noisy(tmp_path / "x.png")
        cut(tmp_path / "x.png")
        with pytest.raises(UserError, match=r"1 of 1 .*x\.png"):
            load_unlabelled(str(tmp_path), size=32)


def test_real_folder(shared):
    images = read(shared / "data/pbc96", limit=80)
    assert len(images) == 80
    assert len(images.class_names) == 8
    assert images.pixels.shape[1:] == (64, 64, 3)
