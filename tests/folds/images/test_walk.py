"""Nothing is passed over without a count."""

import os

import pytest
from PIL import Image

from folds.config import DataConfig
from folds.errors import UserError
from folds.images import load, load_unlabelled
from folds.images.walk import images_below


def picture(path, colour=(200, 40, 90)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 12), colour).save(path)


@pytest.fixture
def root(tmp_path):
    """Two classes of three images."""
    for name in ("cat", "dog"):
        for number in range(3):
            picture(tmp_path / "set" / name / f"{number}.png")
    return tmp_path / "set"


def read(root, **settings):
    return load(DataConfig(data=str(root), **settings), seed=0, largest=12)


class TestLinks:
    def test_images_behind_links_are_read(self, root, tmp_path):
        for number in range(4):
            picture(tmp_path / "archive" / "deep" / f"{number}.png")
        (root / "cat" / "more").symlink_to("../../archive")
        (root / "owl").symlink_to("../archive/deep")
        (root / "dog" / "one.png").symlink_to("../../archive/deep/0.png")
        images = read(root)
        assert images.counts == {"cat": 7, "dog": 4, "owl": 4}
        assert "cat/more/deep/0.png" in images.ids
        assert images.notices == ()
        assert len(load_unlabelled(str(root), size=12).ids) == 11  # the archive once

    def test_a_loop_ends_and_is_counted(self, root, tmp_path):
        (root / "cat" / "up").symlink_to("..")
        (root / "cat" / "deep").mkdir()
        (root / "cat" / "deep" / "self").symlink_to(".")
        (root / "dog" / "top").symlink_to(tmp_path)
        images = read(root)
        assert images.counts == {"cat": 3, "dog": 3}
        assert images.notices == ("3 links not followed: they lead to a folder that they lie in",)

    def test_a_folder_is_read_once_under_its_own_name(self, root):
        picture(root / "cat" / "z" / "x.png")
        (root / "cat" / "a").symlink_to("z")
        images = read(root)
        assert "cat/z/x.png" in images.ids
        assert images.counts["cat"] == 4
        assert images.notices == ("1 link not followed: their folder is read already",)

    def test_links_between_folders_outside_end(self, root, tmp_path):
        for one, other in ("ab", "ba"):
            picture(tmp_path / one / f"{one}.png")
            (tmp_path / one / "other").symlink_to(f"../{other}")
        (root / "cat" / "a").symlink_to(tmp_path / "a")
        images = read(root)
        assert [name for name in images.ids if "a" in name.split("/")[1:]] == [
            "cat/a/a.png", "cat/a/other/b.png",
        ]  # fmt: skip
        assert len(images.notices) == 1

    def test_dead_links_are_counted(self, root):
        (root / "cat" / "gone.png").symlink_to("nowhere.png")
        (root / "cat" / "round.png").symlink_to("round.png")
        assert read(root).notices == ("2 links not followed: they lead nowhere",)

    def test_a_class_of_dead_links_alone_names_them(self, root):
        (root / "owl").mkdir()
        (root / "owl" / "0.png").symlink_to("nowhere.png")
        with pytest.raises(UserError, match=r"'owl' has no images but links .*they lead nowhere"):
            read(root)


class TestKinds:
    def test_are_counted_by_the_ends_of_their_names(self, root):
        for name in ("a.gif", "b.GIF", "c.dcm", "LICENCE"):
            (root / "cat" / name).write_bytes(b"x")
        (notice,) = read(root).notices
        assert notice.startswith("4 files skipped: 2 files are .gif, 1 file has no suffix, 1 file ")
        assert notice.endswith("1 file is .dcm; read are .bmp, .jpeg, .jpg, .png, .tif, .tiff, "
                               ".webp")  # fmt: skip

    def test_a_class_of_another_kind_says_which(self, root):
        for number in range(8):
            picture(root / "owl" / f"{number}.gif")
        with pytest.raises(UserError, match=r"'owl' has no images: 8 files are \.gif; save them"):
            read(root)

    def test_are_told_where_images_are_predicted(self, root):
        (root / "x.jfif").write_bytes(b"x")
        (notice,) = load_unlabelled(str(root), size=12).notices
        assert notice.startswith("1 file skipped: 1 file is .jfif; read are")
        for path in root.rglob("*.png"):
            path.unlink()
        with pytest.raises(UserError, match=r"no image files \(.*\) in it: 1 file is \.jfif"):
            load_unlabelled(str(root), size=12)

    def test_hidden_files_are_counted_wherever_they_lie(self, root):
        for name in (".a.png", "cat/.b/c/d.png", "cat/.b/e", "__MACOSX/cat/._0.png"):
            picture((root / name).with_suffix(".png"))
        assert read(root).notices == ("4 hidden files skipped",)
        picture(root.parent / "one" / ".x.png")
        picture(root.parent / "one" / "x.png")
        assert load_unlabelled(str(root.parent / "one"), size=12).notices == (
            "1 hidden file skipped",
        )

    def test_images_beside_the_class_folders_are_counted(self, root):
        picture(root / "loose.png")
        assert read(root).notices == ("1 image beside the class folders skipped",)

    def test_files_of_several_pages_are_counted(self, root):
        page = Image.new("RGB", (12, 12))
        page.save(root / "cat" / "stack.tif", save_all=True, append_images=[page, page])
        (notice,) = read(root).notices
        assert notice == (
            "1 file with several pages or frames, of which the first is read: stack.tif"
        )

    def test_files_with_more_bits_are_counted(self, root):
        Image.new("I;16", (12, 12), 900).save(root / "cat" / "deep.png")
        (notice,) = read(root).notices
        assert notice.startswith("1 file with more than 8 bits a channel: white is 65,535")
        assert read(root, levels=4095).notices == ()
        (root / "cat" / "deep.png").unlink()
        assert read(root, levels=4095).notices[0].startswith("levels 4095 are of no effect")


class TestParts:
    @pytest.mark.parametrize(
        "names", [("train", "val", "test"), ("Training", "valid_1"), ("fold1", "fold2")]
    )
    def test_parts_of_a_set_are_no_classes(self, tmp_path, names):
        for part in names:
            for name in ("cat", "dog"):
                picture(tmp_path / part / name / "0.png")
        with pytest.raises(UserError, match=rf"cat, dog.*--data {tmp_path}/{names[0]}"):
            read(tmp_path)

    def test_classes_with_equal_folders_are_classes(self, tmp_path):
        for name in ("cat", "dog"):
            for patient in ("p1", "p2"):
                picture(tmp_path / name / patient / "0.png")
        assert read(tmp_path).class_names == ("cat", "dog")

    @pytest.mark.parametrize("name", ["images", "train"])
    def test_a_folder_around_the_classes_is_named(self, tmp_path, name):
        for kind in ("blast", "mono"):
            picture(tmp_path / name / kind / "0.png")
        with pytest.raises(UserError) as refused:
            read(tmp_path)
        assert str(refused.value) == (
            f"--data {tmp_path}: its only folder, {name}, holds the class folders (blast, mono); "
            f"name that, as in --data {tmp_path}/{name}"
        )

    def test_classes_that_hold_the_same_folders_are_told(self, tmp_path):
        for lab in ("lab1", "lab2"):
            for kind in ("blast", "mono"):
                picture(tmp_path / lab / kind / "0.png")
        (notice,) = read(tmp_path).notices
        assert notice == (
            "each class folder (lab1, lab2) holds the same folders (blast, mono); if those are the "
            f"classes, name one folder, as in --data {tmp_path}/lab1"
        )
        picture(tmp_path / "lab1" / "1.png")
        assert read(tmp_path).notices == ()

    def test_a_class_may_be_called_train(self, tmp_path):
        for name in ("train", "tram", "test"):
            picture(tmp_path / name / "0.png")
        assert read(tmp_path).class_names == ("test", "train", "tram")


def test_a_folder_that_cannot_be_read_is_named(root, monkeypatch):
    plain = os.scandir

    def scandir(folder):
        if str(folder).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return plain(folder)

    (root / "cat" / "locked").mkdir()
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UserError, match=r"folder .*cat/locked cannot be read \(Permission denied"):
        read(root)


def test_files_come_in_order(root):
    files, _ = images_below(root, root)
    assert files == sorted(files)
    assert len(files) == 6


class TestRemedies:
    def test_levels_are_the_remedy_for_floats_beyond_1(self, root):
        Image.new("F", (12, 12), 4095.0).save(root / "cat" / "x.tif")
        words = r"1 of 7 .*\(cat/x.tif\): cat/x.tif has floating-point numbers above 1 \(4095\); .*"
        with pytest.raises(UserError, match=words + "--levels.*--skip-broken"):
            read(root)
        assert len(read(root, levels=4095)) == 7
        assert len(read(root, skip_broken=True)) == 6
        with pytest.raises(UserError, match=words + "--levels, when the model is trained"):
            load_unlabelled(str(root), size=12)

    def test_unlabelled_images_may_be_left_out(self, root):
        (root / "cat" / "0.png").write_bytes(b"")
        found = load_unlabelled(str(root), size=12, skip_broken=True)
        assert len(found.ids) == len(found.pixels) == 5
        assert found.notices == ("1 unreadable file left out: cat/0.png",)
        with pytest.raises(UserError, match=r"1 of 6 .*; mend them, or leave them out with --"):
            load_unlabelled(str(root), size=12)
