"""Folders of the Hugging Face hub are read, by Arrow alone, as the package wrote them."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from folds.config import Config, DataConfig
from folds.errors import UserError
from folds.images import hub_table, load, load_unlabelled
from folds.images.source import files_of, open_source
from folds.prepare import prepare

NAMES = ["dog", "cat", "cow"]  # in no order, and no image is a cow
FEATURES = {"image": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}


def png(value, side=8):
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (value, 0, 0)).save(buffer, "png")
    return buffer.getvalue()


def table(values, *, labels=None, features=FEATURES, files=None, **columns):
    """A table as the package `datasets` makes it, of images of one value each."""
    files = [png(value) for value in values] if files is None else files
    labels = [row % 2 for row in range(len(files))] if labels is None else labels
    cells = {
        "image": pa.array(
            [{"bytes": file, "path": None} for file in files],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        ),
        "label": pa.array(labels),
        **{name: pa.array(value) for name, value in columns.items()},
    }
    about = {"huggingface": json.dumps({"info": {"features": features}})} if features else None
    return pa.table(cells).replace_schema_metadata(about)


def save(folder, *tables):
    """What ``Dataset.save_to_disk`` writes."""
    folder.mkdir(parents=True)
    names = [f"data-{n:05d}-of-{len(tables):05d}.arrow" for n in range(len(tables))]
    for name, one in zip(names, tables, strict=True):
        with pa.ipc.new_stream(str(folder / name), one.schema) as stream:
            stream.write_table(one)
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": n} for n in names]})
    )
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))


def arrow(folder, **parts):
    for name, one in parts.items():
        save(folder / name, one.slice(0, 3), one.slice(3))
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(parts)}))
    return folder


def parquet(folder, **parts):
    (folder / "data").mkdir(parents=True)
    for name, one in parts.items():
        for number, rows in enumerate((one.slice(0, 3), one.slice(3))):
            pq.write_table(rows, folder / "data" / f"{name}-{number:05d}-of-00002.parquet")
    return folder


@pytest.fixture(params=[arrow, parquet])
def write(request, tmp_path):
    return lambda **parts: request.param(tmp_path / "set", **parts)


def read(path, **settings):
    return load(DataConfig(data=str(path), **settings), seed=0, largest=32)


def test_train_and_validation_are_pooled_and_test_is_apart(write):
    folder = write(train=table(range(6)), validation=table([10, 11]), test=table([20, 21]))
    images = read(folder)
    assert images.pixels.shape == (8, 8, 8, 3)
    assert images.pixels[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 10, 11]
    assert images.ids[[0, 5, 7]].tolist() == [
        "train/0000000",
        "train/0000005",
        "validation/0000001",
    ]
    assert images.class_names == ("dog", "cat")
    assert images.labels.tolist() == [0, 1] * 4
    assert images.notices == ("the data set's part 'test' is in no fold",)
    assert read(folder / "test").pixels[:, 0, 0, 0].tolist() == [20, 21]
    assert len(load_unlabelled(str(folder), size=8).pixels) == 10
    assert files_of(DataConfig(data=str(folder)), images.ids) == []


def test_the_test_part_is_external(write):
    folder = write(train=table(range(12)), test=table([20, 21]))
    settings = {
        "data": str(folder), "folds": 2, "batch_size": 4, "backbone": "test_resnet",
        "weights": "none", "audit": "off", "image_size": 32,
    }  # fmt: skip
    (external,) = prepare(Config.from_flat(settings)).problem.externals
    assert (external.name, external.source) == ("test", f"{folder}/test")
    assert external.images.pixels[:, 0, 0, 0].tolist() == [20, 21]
    with pytest.raises(UserError, match="give yours another"):
        prepare(Config.from_flat({**settings, "external": ["test=digits"]}))
    with pytest.raises(UserError, match="there is no --external test"):
        Config.from_flat({**settings, "select_by": "external.test.accuracy"})


def test_a_file_gives_the_pixels_that_it_gives_in_a_folder(tmp_path):
    rng = np.random.default_rng(0)
    files = []
    for row, (kind, size) in enumerate([("png", (40, 30)), ("jpeg", (20, 50)), ("png", (64, 64))]):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(buffer, kind)
        files.append(buffer.getvalue())
        (tmp_path / "folder" / f"c{row % 2}").mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / f"c{row % 2}" / f"{row}.{kind}").write_bytes(files[-1])
    save(tmp_path / "hub", table((), files=files))
    mine, theirs = read(tmp_path / "hub"), read(tmp_path / "folder")
    assert mine.pixels.shape == (3, 32, 32, 3)
    by_name = np.argsort([int(name.split("/")[1][0]) for name in theirs.ids])
    np.testing.assert_array_equal(mine.pixels, theirs.pixels[by_name])
    assert mine.labels.tolist() == theirs.labels[by_name].tolist()


def test_rows_without_end_are_refused(write, monkeypatch):
    monkeypatch.setattr(hub_table, "_MOST_ROWS", 5)
    with pytest.raises(UserError, match="more than 5 rows"):
        read(write(train=table(range(6))))


def test_a_file_of_pixels_holds_the_same(write, tmp_path):
    broken = [*(png(row % 251) for row in range(300)), b"no image"]
    config = {"data": str(write(train=table((), files=broken))), "skip_broken": True, "limit": 290}
    source = open_source(DataConfig(**config), seed=1, largest=32)
    memory, disk = source.decode(), source.decode_to(tmp_path / "pixels.npy")
    np.testing.assert_array_equal(memory.pixels, disk.pixels[:])
    rows = [int(name.removeprefix("train/")) for name in memory.ids.tolist()]
    assert memory.pixels[:, 0, 0, 0].tolist() == [row % 251 for row in rows]
    assert memory.labels.tolist() == [row % 2 for row in rows]
    assert memory.digest == disk.digest
    assert memory.notices == disk.notices
    assert source.shape[0] == 290 >= len(memory) >= 289
    assert source.nbytes == 290 * 8 * 8 * 3


def test_groups_sites_and_slices_come_from_columns(write):
    one = table(range(4), group=["p", "p", "q", "q"], site=[1, 1, 2, 2], sex=["f", None, "m", "m"])
    folder = write(train=one)
    images = read(folder, slices=("sex",))
    assert images.groups.tolist() == ["p", "p", "q", "q"]
    assert images.sites.tolist() == ["1", "1", "2", "2"]
    assert images.columns["sex"].tolist() == ["f", "", "m", "m"]
    with pytest.raises(UserError, match=r"--slices sax: .*nearest: sex"):
        read(folder, slices=("sax",))


def test_without_features_the_usual_names_are_taken(write):
    images = read(write(train=table(range(4), labels=["x", "y", "y", "x"], features=None)))
    assert images.class_names == ("x", "y")
    assert images.labels.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (table(()), "a column has 0 values for 0 rows"),
        (table((), files=[b"", png(1), None, png(2)]), r"2 of 4 images cannot be read \(train/0"),
        (table(range(4), labels=[0, 1, -1, 0]), r"1 of 4 values of 'label' are none of its 3"),
        (table(range(4), labels=[0, 1, None, 0]), "'label' are none of its 3 classes"),
        (table(range(4)).rename_columns(["image", "y"]), "no column has the labels"),
        (table(range(4), features=None).rename_columns(["x", "label"]), "no column has the images"),
        (table(range(4)).drop_columns("image").append_column("image", pa.array(range(4))),
         "no bytes of image files"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(write, one, told):
    with pytest.raises(UserError, match=told) as found:
        read(write(train=one))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("size", [0, 5, 100, 700])
def test_damaged_files_are_one_line(write, size):
    folder = write(train=table(range(4)))
    file = next(path for path in sorted(folder.rglob("*")) if path.suffix in (".arrow", ".parquet"))
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(UserError, match=f"--data {folder}"):
        read(folder)


@pytest.mark.parametrize("content", ["[]", "{", '{"splits": 3}', '{"splits": ["train"]}'])
def test_a_damaged_description_is_one_line(tmp_path, content):
    (tmp_path / "dataset_dict.json").write_text(content)
    with pytest.raises(UserError, match=f"--data {tmp_path}"):
        read(tmp_path)


def test_no_file_outside_of_the_folder_is_read(tmp_path):
    save(tmp_path / "set", table(range(4)))
    (tmp_path / "set" / "data-00000-of-00001.arrow").rename(tmp_path / "outside.arrow")
    state = {"_data_files": [{"filename": "../outside.arrow"}]}
    (tmp_path / "set" / "state.json").write_text(json.dumps(state))
    with pytest.raises(UserError, match=r"outside\.arrow of state.json is not there"):
        read(tmp_path / "set")


def test_the_package_writes_such_folders(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)}
    )
    pictures = [Image.new("RGB", (8, 8), (value, 0, 0)) for value in range(6)]
    rows = {"image": pictures, "label": [0, 1] * 3}
    one = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": one, "test": one}).save_to_disk(tmp_path / "dict")
    one.to_parquet(tmp_path / "hub" / "train-00000-of-00001.parquet")
    for folder in (tmp_path / "dict", tmp_path / "hub"):
        images = read(folder)
        assert images.pixels[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
        assert images.class_names == ("dog", "cat")
