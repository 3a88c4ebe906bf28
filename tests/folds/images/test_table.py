import numpy as np
import pandas as pd
import pytest

from folds.config import DataConfig
from folds.errors import UserError
from folds.images import load, load_unlabelled
from tests.folds.images.test_folder import cut, noisy, picture

COLOURS = {"cat": (250, 0, 0), "dog": (0, 0, 250)}
ROWS = {
    "path": ["a/2.png", "a/0.png", "1.png", "3.png"],
    "label": ["dog", "cat", "cat", "dog"],
    "group": ["p2", "p1", "p1", "p2"],
}


@pytest.fixture(params=[".csv", ".parquet"])
def suffix(request):
    return request.param


@pytest.fixture
def write(tmp_path, suffix):
    """Write a table, and pictures for its paths; give its place."""

    def make(columns, *, draw=True):
        for path, label in zip(columns.get("path", ()), columns.get("label", ()), strict=False):
            if draw and path:
                picture(tmp_path / path, colour=COLOURS.get(label, (0, 250, 0)))
        frame, place = pd.DataFrame(columns), tmp_path / f"images{suffix}"
        frame.to_csv(place, index=False) if suffix == ".csv" else frame.to_parquet(place)
        return place

    return make


def read(path, largest=64, **settings):
    return load(DataConfig(data=str(path), **settings), seed=0, largest=largest)


class TestRows:
    def test_are_files_labels_and_groups(self, write):
        images = read(write(ROWS))
        assert images.ids.tolist() == ["1.png", "3.png", "a/0.png", "a/2.png"]
        assert images.class_names == ("cat", "dog")
        assert images.labels.tolist() == [0, 1, 0, 1]
        assert images.groups.tolist() == ["p1", "p2", "p1", "p2"]
        assert [tuple(colour) for colour in images.pixels[:2, 0, 0]] == list(COLOURS.values())

    def test_without_groups_are_their_own(self, write):
        images = read(write({name: ROWS[name] for name in ("path", "label")}))
        assert (images.groups == images.ids).all()

    def test_in_any_order_are_the_same(self, write):
        one = read(write(ROWS), limit=2)
        two = read(write({name: cells[::-1] for name, cells in ROWS.items()}), limit=2)
        assert one.ids.tolist() == two.ids.tolist()
        assert one.digest == two.digest

    def test_may_name_absolute_paths(self, write, tmp_path):
        picture(tmp_path.parent / "outside.png")
        paths = [str(tmp_path / "1.png"), str(tmp_path.parent / "outside.png")]
        images = read(write({"path": paths, "label": ["cat", "dog"]}))
        assert images.ids.tolist() == sorted(["1.png", paths[1]])

    def test_of_numbers_and_missing_looking_words_are_names(self, write):
        names = ["01", "NA", "null", "1"]
        images = read(write({"path": ["1.png", "2.png", "3.png", "4.png"], "label": names}))
        assert images.class_names == tuple(sorted(names))

    def test_with_spaces_and_other_columns(self, write):
        columns = {"path": ["1.png", "2.png"], "label": [" cat", "dog "], " note": ["", "x"]}
        assert read(write(columns)).class_names == ("cat", "dog")

    def test_are_read_from_another_folder(self, write, tmp_path, monkeypatch):
        write(ROWS)
        monkeypatch.chdir(tmp_path / "a")
        table = next(tmp_path.glob("images.*"))
        assert read(f"../{table.name}").digest == read(table).digest

    def test_are_predicted_without_labels(self, write):
        write(ROWS)
        path = write({"path": ["3.png", "1.png"]}, draw=False)
        found = load_unlabelled(str(path), size=32)
        pixels, ids = found.pixels, found.ids
        assert ids.tolist() == ["3.png", "1.png"]
        assert pixels[1, 0, 0].tolist() == [250, 0, 0]


class TestRefusals:
    def refused(self, path, words, **settings):
        with pytest.raises(UserError, match=words) as caught:
            read(path, **settings)
        message = str(caught.value)
        assert message.startswith(f"--data {path}: ")
        assert "\n" not in message

    @pytest.mark.parametrize("name", ["path", "label"])
    def test_a_missing_column(self, write, name):
        columns = {f"{key}s" if key == name else key: cells for key, cells in ROWS.items()}
        self.refused(write(columns), f"no column '{name}' among .*nearest: {name}s")

    @pytest.mark.parametrize("name", ["path", "label", "group"])
    @pytest.mark.parametrize("empty", ["", " ", None])
    def test_an_empty_cell(self, write, name, empty):
        cells = [*ROWS[name][:2], empty, ROWS[name][3]]
        self.refused(
            write({**ROWS, name: cells}, draw=name != "path"),
            f"1 cells of column '{name}' are empty, the first in row 3 below the header",
        )

    def test_missing_files_are_counted(self, write, tmp_path):
        path = write(ROWS)
        (tmp_path / "a/0.png").unlink()
        (tmp_path / "1.png").unlink()
        self.refused(path, r"2 of 4 files are not there \(a/0\.png, 1\.png\); paths are relative")

    def test_a_file_twice(self, write):
        columns = {"path": ["1.png", "a/../1.png", "2.png"], "label": ["cat", "dog", "cat"]}
        self.refused(write(columns), r"1 files stand in more than one row \(1\.png\); keep one")

    def test_no_rows(self, write):
        self.refused(write({"path": [], "label": []}), "no rows; give one an image")

    def test_one_class(self, write):
        with pytest.raises(UserError, match=r"only one class \(cat\)"):
            read(write({"path": ["1.png", "2.png"], "label": ["cat", "cat"]}))

    def test_a_damaged_file(self, write):
        path = write(ROWS)
        path.write_bytes(b"\xff\x00PAR1" + bytes(40))
        self.refused(path, "not a readable table|no column 'path'")

    def test_broken_images_are_named_or_left_out(self, write, tmp_path):
        path = write(ROWS)
        noisy(tmp_path / "a/0.png")
        cut(tmp_path / "a/0.png")
        self.refused(path, r"1 of 4 image files cannot be read \(a/0\.png\); .*--skip-broken")
        images = read(path, skip_broken=True)
        assert images.groups.tolist() == ["p1", "p2", "p2"]
        assert images.notices == ("1 unreadable file left out: a/0.png",)


class TestCsv:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "not a readable table"),
            ("path,label\n1.png,cat,x,y\n", "more cells than the header"),
            ("path,label\n1.png,cat\n2.png,dog,x\n", "not a readable table"),
            ("path,label\n1.png\n", "column 'label' are empty"),
            ("path;label\n1.png;cat\n", "no column 'label' among path;label"),
            ('path,label\n"1.png,cat\n', "not a readable table"),
        ],
    )
    def test_that_is_none_is_refused(self, tmp_path, text, words):
        picture(tmp_path / "1.png")
        picture(tmp_path / "2.png")
        (tmp_path / "x.csv").write_text(text)
        with pytest.raises(UserError, match=words):
            read(tmp_path / "x.csv")

    def test_of_a_spreadsheet_is_read(self, tmp_path):
        for name in ("ä.png", "b,c.png"):
            picture(tmp_path / name)
        text = 'path,label\r\nä.png,Bär\r\n"b,c.png","say ""x"""\r\n'
        (tmp_path / "x.CSV").write_bytes(text.encode("utf-8-sig"))
        assert read(tmp_path / "x.CSV").class_names == ("Bär", 'say "x"')


def test_parquet_may_hold_numbers_and_categories(tmp_path):
    for number in range(4):
        picture(tmp_path / f"{number}.png")
    frame = pd.DataFrame(
        {
            "path": [f"{number}.png" for number in range(4)],
            "label": pd.Categorical(["b", "a", "b", "a"]),
            "group": np.array([7, 8, 8, 7]),
        }
    )
    frame.to_parquet(tmp_path / "x.parquet")
    images = read(tmp_path / "x.parquet")
    assert images.class_names == ("a", "b")
    assert images.groups.tolist() == ["7", "8", "8", "7"]
