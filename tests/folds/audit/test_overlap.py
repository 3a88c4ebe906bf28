import dataclasses

import numpy as np
import pytest
from PIL import Image

from folds.audit import store
from folds.audit.overlap import looked_at
from folds.config import Config, DataConfig
from folds.images import load
from folds.images.demo import cells
from folds.images.external import External, load_externals
from folds.prepare import prepare
from tests.folds.audit.test_duplicates import noisy, recompressed


@pytest.fixture(scope="module")
def demo():
    return cells(80)


def class_folders(root, images, rows, *, change=lambda image: image):
    for row in rows:
        file = root / images.class_names[images.labels[row]] / f"{row}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(change(images.pixels[row])).save(file)
    return DataConfig(data=str(root))


def told(config, externals, *, largest=96):
    images = load(config, seed=0, largest=largest)
    loaded = load_externals(externals, images.class_names, config, size=largest)
    return looked_at(images, loaded, config)


def larger(image):
    return np.asarray(Image.fromarray(image).resize((100, 100)))


@pytest.mark.parametrize("audit", ["off", "report"])
def test_the_same_files_are_found_though_one_of_another_size_is_among_them(demo, tmp_path, audit):
    config = class_folders(tmp_path / "data", demo, range(0, 80, 2))
    config = config.model_copy(update={"audit": audit})
    class_folders(tmp_path / "there", demo, range(0, 16, 2))
    class_folders(tmp_path / "there", demo, [1], change=larger)
    _, notices = told(config, {"lab2": str(tmp_path / "there")})
    assert "--external lab2: 8 of its 9 images are also among those of --data (" in "".join(notices)


def test_the_same_pixels_in_other_files_are_found(demo, tmp_path):
    config = class_folders(tmp_path / "data", demo, range(0, 80, 2))
    there = demo.take(np.r_[0:20:2, 1:20:2])
    np.savez(tmp_path / "there.npz", images=there.pixels, labels=there.labels,
             class_names=np.array(demo.class_names))  # fmt: skip
    _, notices = told(config, {"lab2": str(tmp_path / "there.npz")})
    assert "10 of its 20 images are also among those of --data" in "".join(notices)


@pytest.mark.parametrize(
    "change", [lambda image: recompressed(image, 75), lambda image: noisy(image, 0), larger]
)
def test_near_copies_across_training_and_external_images_are_found(demo, tmp_path, change):
    config = class_folders(tmp_path / "data", demo, range(0, 80, 2))
    class_folders(tmp_path / "there", demo, range(0, 40, 2), change=change)
    class_folders(tmp_path / "there", demo, range(1, 20, 2))
    _, notices = told(config, {"lab2": str(tmp_path / "there")})
    assert "20 of its 30 images are near-duplicates of some of --data" in "".join(notices)
    assert "are also" not in "".join(notices)


def test_other_images_are_not_told_of(demo):
    others = External("lab2", "demo", demo.take(np.arange(1, 80, 2)))
    (seen,), notices = looked_at(demo.take(np.arange(0, 80, 2)), (others,), DataConfig())
    assert notices == []
    assert (seen.images.groups == others.images.groups).all()


def test_external_images_are_audited_like_the_others(demo):
    rows = np.r_[1:80:2, 1:9:2]
    pixels = demo.pixels[rows].copy()
    pixels[40:] = [recompressed(image, 75) for image in pixels[40:]]
    there = dataclasses.replace(
        demo.take(np.arange(44)), pixels=pixels, labels=demo.labels[rows], notices=("1 left out",)
    )
    (seen,), notices = looked_at(
        demo.take(np.arange(0, 80, 2)), (External("lab2", "demo", there),), DataConfig()
    )
    assert (seen.images.groups[40:] == seen.images.groups[:4]).all()
    assert notices[0] == "--external lab2: 1 left out"
    assert "--external lab2: audit: 4 near-duplicates, in one group" in notices[1]
    assert len(seen.images) == 44


def test_what_was_found_is_remembered_whatever_the_order(demo, monkeypatch):
    one, other = demo.take(np.arange(40)), demo.take(np.arange(30, 60))
    first = store.near_copies(one, other)
    assert first.tolist() == [True] * 10 + [False] * 20
    monkeypatch.setattr(store, "find_duplicates", lambda _: pytest.fail("searched again"))
    order = np.random.default_rng(0).permutation(30)
    assert (store.near_copies(one, other.take(order)) == first[order]).all()


def test_a_run_tells_of_it(demo, tmp_path):
    config = class_folders(tmp_path / "data", demo, range(80))
    class_folders(tmp_path / "there", demo, range(9))
    settings = {
        "data": config.data, "external": [f"lab2={tmp_path / 'there'}"], "backbone": "test_vit",
        "weights": "none", "folds": 2, "batch_size": 8, "group_regex": r"(\d)\.png",
    }  # fmt: skip
    prepared = prepare(Config.from_flat(settings))
    assert any("lab2: 9 of its 9 images are also among" in line for line in prepared.notices)
