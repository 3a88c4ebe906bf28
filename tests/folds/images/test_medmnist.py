"""Sets of MedMNIST go by their names: which file, which part, which classes."""

import sys
import types

import numpy as np
import pytest

from folds.config import Config, DataConfig
from folds.errors import UserError
from folds.images import load, load_unlabelled, medmnist
from folds.images.places import own_test
from folds.prepare import prepare

COUNTS = {"train": 24, "val": 8, "test": 12}


def write(root, name="bloodmnist", side=28, classes=8, *, grey=False, labels=None):
    """A file as the package has them: labels of the parts are (N, 1) uint8."""
    arrays = {}
    for part, count in COUNTS.items():
        rng = np.random.default_rng(len(arrays))
        shape = (count, side, side) if grey else (count, side, side, 3)
        arrays[f"{part}_images"] = rng.integers(0, 256, shape, dtype=np.uint8)
        own = np.arange(count) % classes if labels is None else labels
        arrays[f"{part}_labels"] = own[:count, None].astype(np.uint8)
    root.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(root / f"{name}.npz", **arrays)
    return arrays


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDMNIST_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"


@pytest.fixture
def no_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "medmnist", None)


def read(source, **settings):
    return load(DataConfig(data=source, **settings), seed=0, largest=64)


def test_a_name_is_training_and_validation(root):
    arrays = write(root)
    images = read("bloodmnist")
    assert images.pixels.shape == (32, 28, 28, 3)
    np.testing.assert_array_equal(images.pixels[24:], arrays["val_images"])
    assert images.ids[[0, 24]].tolist() == ["train/0000000", "val/0000000"]
    assert images.class_names == medmnist.CLASSES["bloodmnist"]
    assert images.notices == ("the file's test part (12 images) is in no fold",)


@pytest.mark.parametrize("part", list(COUNTS))
def test_a_part_is_read_alone(root, part):
    arrays = write(root, "pneumoniamnist_64", side=64, classes=2, grey=True)
    images = read(f"pneumoniamnist:64/{part}")
    np.testing.assert_array_equal(images.pixels[..., 1], arrays[f"{part}_images"])
    assert images.notices == ()
    assert len(load_unlabelled(f"pneumoniamnist:64/{part}", size=64).pixels) == COUNTS[part]
    assert len(load_unlabelled("pneumoniamnist:64", size=64).pixels) == sum(COUNTS.values())


def test_the_test_part_is_scored_and_in_no_fold(root):
    arrays = write(root)
    settings = {
        "data": "bloodmnist", "folds": 2, "batch_size": 4, "backbone": "test_resnet",
        "weights": "none", "audit": "off", "image_size": 32, "limit": 24,
    }  # fmt: skip
    problem = prepare(Config.from_flat(settings)).problem
    (external,) = problem.externals
    assert (external.name, external.source) == ("test", "bloodmnist/test")
    np.testing.assert_array_equal(external.images.pixels, arrays["test_images"])
    assert len(problem.images) == 24
    assert not any(name.startswith("test") for name in problem.images.ids)
    assert own_test("bloodmnist/train") is None
    assert prepare(Config.from_flat(settings), test=False).problem.externals == ()
    several = Config.from_flat({**settings, "limit": None, "data": ["a=bloodmnist", "b=digits"]})
    assert prepare(several).problem.externals == ()


def test_grades_are_told_to_be_classes(root):
    write(root, "retinamnist", classes=5)
    assert any("order is not used" in line for line in read("retinamnist").notices)


def test_a_class_that_a_part_has_not_is_left_out(root):
    write(root, labels=np.array([2, 5] * 12))
    assert read("bloodmnist/test").class_names == ("erythroblast", "monocyte")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("chestmnist", "has several labels an image, and crossfold gives one; there are: blood"),
        ("organmnist3d:64", "organmnist3d holds volumes"),
        ("bloodmnist:32", "of bloodmnist there are the sizes 28, 64, 128, 224"),
        ("bloodmnst", "no such file or folder; nearest: bloodmnist"),
        ("bloodmnist/tset", "no such file or folder"),
        ("bloodmnist:224", r"there is no .*root/bloodmnist_224\.npz; put https://zenodo.* or pip"),
    ],
)
@pytest.mark.usefixtures("root", "no_package")
def test_what_is_not_there_is_one_line(source, told):
    with pytest.raises(UserError, match=f"--data {source.split('/')[0].split(':')[0]}.*{told}"):
        read(source)


def test_the_package_fetches_what_is_not_there(root, monkeypatch, capsys):
    asked = []

    class BloodMNIST:
        def __init__(self, **how):
            asked.append(how)
            print("Downloading")
            write(root, "bloodmnist_64", side=64)

    package = types.ModuleType("medmnist")
    package.INFO = {"bloodmnist": {"python_class": "BloodMNIST"}}
    package.BloodMNIST = BloodMNIST
    monkeypatch.setitem(sys.modules, "medmnist", package)
    assert read("bloodmnist:64").pixels.shape[1] == 64
    assert read("bloodmnist:64").pixels.shape[1] == 64
    assert asked == [{"split": "test", "download": True, "size": 64, "root": str(root)}]
    assert capsys.readouterr().out == ""  # which is for results


def test_a_fetch_that_fails_is_one_line(root, monkeypatch):
    def fails(**how):
        raise RuntimeError("no network\nand no luck")

    package = types.ModuleType("medmnist")
    package.INFO = {"bloodmnist": {"python_class": "BloodMNIST"}}
    package.BloodMNIST = fails
    monkeypatch.setitem(sys.modules, "medmnist", package)
    with pytest.raises(UserError, match=r"could not fetch it \(no network and no luck\); put"):
        read("bloodmnist")


def test_classes_are_those_of_the_package():
    package = pytest.importorskip("medmnist")
    for name, info in package.INFO.items():
        single = info["task"] != "multi-label, binary-class" and not name.endswith("3d")
        assert (name in medmnist.CLASSES) == single
        if single:
            assert len(medmnist.CLASSES[name]) == len(info["label"])
            for number, own in enumerate(medmnist.CLASSES[name]):
                assert own.split()[0].lower() in info["label"][str(number)].lower()
        else:
            with pytest.raises(UserError, match=name):
                medmnist.named(name)
