"""An ONNX file in eight bits is smaller, and says what that costs."""

import importlib.util

import numpy as np
import pytest

from folds.errors import RunError
from folds.model.backbone import build
from folds.model.bundle import ModelCard, write_bundle
from folds.model.export import _NEEDED, export
from folds.model.predictor import Predictor
from folds.model.quantise import quantise

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, _NEEDED)), reason="crossfold[export] is not there"
)
SIZE = 32


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A file, images, and what the model itself says of them: accuracy is agreement."""
    folder = tmp_path_factory.mktemp("whole")
    card = ModelCard("test_resnet", ("a", "b", "c"), SIZE)
    model = build("test_resnet", classes=3, size=SIZE, dropout=0.0, pretrained=None, seed=0)
    with_scale = model.state_dict() | {"head.weight": model.state_dict()["head.weight"] * 50}
    write_bundle(folder, card, with_scale)
    export(folder, "onnx", folder / "model.onnx")
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 200, (240, 1, 1, 3))
    images = (colours + rng.integers(0, 56, (240, SIZE, SIZE, 3))).astype(np.uint8)
    return folder / "model.onnx", images, Predictor(folder, "cpu").predict(images).argmax(axis=1)


def test_it_is_smaller_and_tells_what_it_costs(whole, tmp_path):
    import onnx
    import onnxruntime

    source, images, labels = whole
    loss = quantise(source, tmp_path / "int8.onnx", images, labels)
    assert (loss.images, loss.before) == (120, 1.0)
    assert 0.8 <= loss.after <= 1
    small, large = ((path).stat().st_size for path in (tmp_path / "int8.onnx", source))
    assert loss.sizes == (large, small)
    assert small < 0.6 * large
    metadata = [onnx.load(path).metadata_props for path in (source, tmp_path / "int8.onnx")]
    assert metadata[0] == metadata[1]
    session = onnxruntime.InferenceSession(tmp_path / "int8.onnx")
    for count in (1, 7):  # any number of images
        found = session.run(["probabilities"], {"images": images[:count]})[0]
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_the_loss_is_of_images_that_it_was_not_fitted_to(whole, tmp_path):
    source, images, labels = whole
    wrong = (labels + 1) % 3
    assert quantise(source, tmp_path / "x.onnx", images, wrong).before == 0.0


def test_what_cannot_be_is_told_in_a_line_and_nothing_is_written(whole, tmp_path):
    (tmp_path / "no.onnx").write_bytes(b"junk")
    with pytest.raises(RunError, match="--int8: the network cannot be quantised"):
        quantise(tmp_path / "no.onnx", tmp_path / "x.onnx", *whole[1:])
    assert not (tmp_path / "x.onnx").exists()
