"""Training, external images and serving are given the same pixels of the same file."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from folds.augment import to_input
from folds.augment.view import _enlarged
from folds.config import Config, DataConfig
from folds.images import load, load_unlabelled
from folds.images.external import load_externals
from folds.images.resize import bicubic_taps, cover, own_side
from folds.model.inputs import batches
from folds.prepare import prepare
from tests.folds.images.encodings import encoded, marked, png16, turned

SIZE = 24
KINDS = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "F"],
    "JPEG": ["L", "RGB", "CMYK", "YCbCr"],
    "WEBP": ["RGB", "RGBA"],
    "BMP": ["1", "L", "P", "RGB"],
}


@st.composite
def files(draw):
    """The content of an image file of any kind, mode, size and orientation; its suffix."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    mode = draw(st.sampled_from(KINDS[kind]))
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    values = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    if mode == "I;16":
        image = Image.fromarray(values[..., 0].astype(np.uint16) * 200)
    elif mode == "F":
        image = Image.fromarray(values[..., 0].astype(np.float32) / 255)
    elif mode == "LAB":
        image = Image.frombytes("LAB", (width, height), values[..., :3].tobytes())
    elif mode in ("LA", "RGBA"):
        image = Image.fromarray(values).convert(mode)
    else:
        image = Image.fromarray(values[..., :3]).convert(mode)
    if kind == "BMP":
        return encoded(image, kind), ".bmp"
    return turned(image, draw(st.integers(1, 8)), kind), f".{kind.lower()}"


def served(asked, size=SIZE, levels=None):
    """What the network is given by the registered model."""
    blocks = batches(asked, size=size, batch=1, levels=levels)
    return torch.cat([to_input(torch.from_numpy(image[None]), size) for b in blocks for image in b])


def inputs(pixels, size=SIZE):
    return to_input(torch.from_numpy(np.ascontiguousarray(pixels)), size)


@given(
    contents=st.lists(files(), min_size=2, max_size=4),
    levels=st.sampled_from([None, 20000.0]),
    image_size=st.sampled_from(["auto", SIZE]),
)
@settings(max_examples=60)
def test_any_mode_size_and_orientation_is_served_as_it_was_trained_on(
    tmp_path_factory, contents, levels, image_size
):
    root = tmp_path_factory.mktemp("set")
    for number, (content, suffix) in enumerate(contents):
        folder = root / ("cat" if number % 2 else "dog")
        folder.mkdir(exist_ok=True)
        (folder / f"{number}{suffix}").write_bytes(content)
    config = DataConfig(data=str(root), levels=levels, image_size=image_size)
    images = load(config, seed=0, largest=SIZE)
    size = SIZE if image_size == SIZE else images.pixels.shape[1]
    trained = inputs(images.pixels, size)
    rest = {"size": size, "levels": levels}
    predicted = load_unlabelled(str(root), **rest)
    paths = [str(root / name) for name in images.ids]
    content = [(root / name).read_bytes() for name in images.ids]
    (external,) = load_externals({"lab": str(root)}, images.class_names, config, size=size)
    assert predicted.ids.tolist() == sorted(images.ids.tolist())
    assert torch.equal(served({"path": paths}, **rest), trained)
    assert torch.equal(served([{"image": one} for one in content], **rest), trained)
    assert torch.equal(inputs(predicted.pixels, size), trained)
    assert torch.equal(inputs(external.images.pixels, size), trained)


def test_a_picture_does_not_depend_on_its_neighbours(tmp_path):
    """A small square in a folder of mixed sizes, and among its like."""
    for place, others in (("alone", [(12, 12)]), ("mixed", [(50, 40), (12, 30)])):
        for name in ("cat", "dog"):
            (tmp_path / place / name).mkdir(parents=True)
            marked().resize((12, 12)).save(tmp_path / place / name / "0.png")
            for number, size in enumerate(others, 1):
                marked().resize(size).save(tmp_path / place / name / f"{number}.png")
    found = []
    for place in ("alone", "mixed"):
        config = DataConfig(data=str(tmp_path / place), image_size=SIZE)
        images = load(config, seed=0, largest=SIZE)
        found.append(inputs(images.pixels)[images.ids.tolist().index("cat/0.png")])
    assert torch.equal(*found)


def save(root, size, count=4):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(count):
            values = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(values).save(root / name / f"{number}.png")
    return str(root)


def prepared(root, **settings):
    settings = {"backbone": "test_resnet", "weights": "none", "folds": 2, "batch_size": 2,
                "audit": "off", **settings}  # fmt: skip
    return prepare(Config.from_flat({"data": root, **settings}))


def test_external_images_of_300_px_are_what_a_network_of_96_px_is_served(tmp_path):
    problem = prepared(
        save(tmp_path / "in", (96, 96)), external=[f"lab={save(tmp_path / 'out', (300, 300))}"]
    ).problem
    assert problem.size == 96
    (external,) = problem.externals
    paths = [str(tmp_path / "out" / name) for name in external.images.ids]
    difference = inputs(external.images.pixels, 96) - served({"path": paths}, 96)
    assert difference.abs().max() == 0


@pytest.mark.parametrize(
    ("size", "backbone", "expected"),
    [
        ((48, 60), "test_resnet", 48),  # the images' own
        ((60, 48), "test_resnet", 48),
        ((400, 300), "test_resnet", 160),  # the backbone's
        ((48, 60), "test_vit", 160),  # it takes no other
    ],
)
def test_auto_is_the_images_shorter_side_but_at_most_the_backbones(
    tmp_path, size, backbone, expected
):
    root = save(tmp_path / "set", size)
    problem = prepared(root, backbone=backbone).problem
    assert problem.size == expected
    with np.load(_archive(root, tmp_path / "set.npz")) as arrays:
        assert arrays["images"].shape[1:3] == size[::-1]
    assert prepared(str(tmp_path / "set.npz"), backbone=backbone).problem.size == expected
    paths = [f"{root}/{name}" for name in problem.images.ids]
    trained = inputs(problem.images.pixels, expected)
    assert torch.equal(served({"path": paths}, expected), trained)


def _archive(root, path):
    images = load(DataConfig(data=root, image_size=8), seed=0, largest=8)
    pixels = [np.asarray(Image.open(f"{root}/{name}")) for name in images.ids]
    np.savez(path, images=np.stack(pixels), labels=images.labels)
    return path


def test_levels_go_from_the_run_into_the_model(tmp_path):
    deep = np.random.default_rng(0).integers(0, 4096, (8, 32, 32, 1)).astype(np.uint16)
    for number, one in enumerate(deep):
        folder = tmp_path / ("cat" if number % 2 else "dog")
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.png").write_bytes(png16(one))
    problem = prepared(str(tmp_path), levels=4095).problem
    assert problem.images.pixels[:].max() > 250
    assert problem.card.levels == 4095
    assert problem.config.science["data"]["levels"] == 4095
    asked = [{"image": (tmp_path / name).read_bytes()} for name in problem.images.ids]
    trained = inputs(problem.images.pixels, 32)
    assert torch.equal(served(asked, 32, problem.card.levels), trained)


class TestEnlarging:
    @given(small=st.integers(1, 70), more=st.integers(1, 160), seed=st.integers(0, 9))
    @settings(max_examples=80)
    def test_on_a_device_is_pillows_to_the_last_bit(self, small, more, seed):
        rng = np.random.default_rng(seed)
        pixels = rng.integers(0, 256, (2, small, small, 3), dtype=np.uint8)
        pixels = pixels if seed % 2 else (pixels > 127).astype(np.uint8) * 255
        found = _enlarged(torch.from_numpy(pixels), small + more).numpy()
        for one, image in zip(found, pixels, strict=True):
            assert (one == cover(Image.fromarray(image), small + more)).all()

    def test_weights_sum_to_one(self):
        for small, large in ((1, 9), (7, 8), (96, 224)):
            _, weights = bicubic_taps(small, large)
            assert np.abs(weights.sum(axis=0) / 2**22 - 1).max() < 1e-6


def test_images_are_kept_small_where_they_have_one_size():
    assert own_side({(12, 12)}, 24, auto=False) == 12
    assert own_side({(12, 12), (12, 13)}, 24, auto=True) == 24
    assert own_side({(12, 30), (30, 12)}, 24, auto=True) == 12
    assert own_side({(12, 30)}, 24, auto=False) == 24
    assert own_side({(30, 40)}, 24, auto=True) == 24


def test_a_damaged_file_is_told_from_one_that_lacks_levels():
    deep = np.random.default_rng(0).random((4, 4), np.float32) * 4095
    content = encoded(Image.fromarray(deep), "TIFF")
    with pytest.raises(ValueError, match=r"row 0: the image has floating-point numbers above 1"):
        list(batches([{"image": content}], size=8, batch=1))
    assert io.BytesIO(content).read(2) == b"II"
    assert len(list(batches([{"image": content}], size=8, batch=1, levels=4095))) == 1
