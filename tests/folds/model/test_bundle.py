import json

import numpy as np
import pytest
import torch

from folds.augment import to_input
from folds.config import DataConfig
from folds.images import load, load_unlabelled
from folds.model.backbone import build
from folds.model.bundle import FORMAT, ModelCard, ensemble, with_temperature, write_bundle
from folds.model.predictor import Predictor
from folds.runtime.device import Runtime
from folds.training import fit
from tests.folds.images.encodings import png16

NAMES = ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "deeper"
    model = build("test_resnet", classes=3, size=32, dropout=0.5, pretrained=None, seed=4)
    write_bundle(folder, ModelCard("test_resnet", NAMES, 32), model.state_dict())
    return folder


@pytest.fixture(scope="module")
def predictor(folder):
    return Predictor(folder, "cpu")


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


class TestFiles:
    def test_card_and_weights_come_back(self, predictor):
        model = build("test_resnet", classes=3, size=32, dropout=0, pretrained=None, seed=4)
        assert predictor.card == ModelCard("test_resnet", NAMES, 32)
        images = torch.from_numpy(noise(2, 32, 32, 3))
        with torch.inference_mode():
            logits = model.eval()(to_input(images, 32))
        found, typicality = predictor.model(images)
        torch.testing.assert_close(found, logits.softmax(dim=1))
        assert typicality is None

    def test_are_safetensors_and_json(self, folder):
        assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]
        assert json.loads((folder / "model.json").read_text())["format"] == FORMAT

    @pytest.mark.parametrize("version", [1, 2, 3])
    def test_of_formats_before_are_read(self, folder, predictor, tmp_path, version):
        """The first had no head to describe, and no test-time augmentation."""
        content = json.loads((folder / "model.json").read_text())
        assert (content.pop("adapt"), content.pop("appearance")) == ("none", None)
        if version < 3:
            assert (content.pop("members"), content.pop("temperature")) == (1, 1.0)
        if version == 1:
            assert content.pop("head")["layers"] == []
            assert content.pop("tta") == "none"
        content["format"] = f"crossfold-model/{version}"
        (tmp_path / "model.json").write_text(json.dumps(content))
        (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
        again = Predictor(tmp_path, "cpu")
        assert again.card == predictor.card
        images = noise(3, 32, 32, 3)
        assert np.array_equal(again.predict(images), predictor.predict(images))

    @pytest.mark.parametrize("pool", ["avgmax", "attention"])
    def test_hold_the_head(self, make_problem, tmp_path, pool):
        head = {"pool": pool, "head_layers": "12,6", "head_activation": "gelu"}
        problem = make_problem(head_norm="batch", head_dropout=0.4, **head)
        result = fit.fit_fold(problem, 0, 0, runtime=Runtime.choose("cpu", "fp32"))
        write_bundle(tmp_path, problem.card, result.weights)
        predictor = Predictor(tmp_path, "cpu")
        assert predictor.card == problem.card
        found = predictor.predict(problem.images.pixels[result.rows])
        np.testing.assert_allclose(found, result.probabilities, atol=1e-5)

    def test_another_format_is_refused(self, folder, tmp_path):
        content = json.loads((folder / "model.json").read_text())
        (tmp_path / "model.json").write_text(json.dumps({**content, "format": "other/1"}))
        with pytest.raises(ValueError, match="not a crossfold-model/4 bundle"):
            Predictor(tmp_path, "cpu")


class TestPredict:
    @pytest.mark.parametrize("size", [(32, 32), (8, 8), (100, 100), (20, 45), (45, 20), (1, 1)])
    def test_any_size_goes_in_and_probabilities_come_out(self, predictor, size):
        found = predictor.predict(noise(5, *size, 3))
        assert found.shape == (5, 3)
        assert found.dtype == np.float32
        assert (found > 0).all()
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)

    @pytest.mark.parametrize("batch", [1, 3, 7, 100])
    def test_batches_do_not_matter(self, predictor, batch):
        images = noise(7, 40, 32, 3)
        whole = predictor.predict(images)
        np.testing.assert_allclose(predictor.predict(images, batch=batch), whole, atol=1e-6)

    def test_no_images_give_no_rows(self, predictor):
        assert predictor.predict(noise(0, 32, 32, 3)).shape == (0, 3)

    def test_input_is_left_alone(self, predictor):
        images = noise(2, 32, 32, 3)
        before = images.copy()
        predictor.predict(images)
        assert (images == before).all()


@pytest.mark.parametrize("size", [16, 32, 48])
@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_predicts_what_the_fold_predicted(make_images, make_problem, tmp_path, size, backbone):
    """The images as they lie in the file, whatever size the network was trained at."""
    source = make_images()
    np.savez(tmp_path / "set.npz", images=source.pixels, labels=source.labels)
    config = DataConfig(data=str(tmp_path / "set.npz"), image_size=size)
    images = load(config, seed=0, largest=999)
    problem = make_problem(images, size=size, backbone=backbone, image_size=size)
    result = fit.fit_fold(problem, 0, 0, runtime=Runtime.choose("cpu", "fp32"))
    write_bundle(tmp_path, ModelCard(backbone, images.class_names, size), result.weights)
    pixels = load_unlabelled(config.data, size=size).pixels
    found = Predictor(tmp_path, "cpu").predict(pixels[result.rows])
    np.testing.assert_allclose(found, result.probabilities, atol=1e-5)


def test_predicts_what_the_fold_predicted_on_reduced_digits(make_problem, tmp_path):
    config = DataConfig(data="digits", limit=100, image_size=16)
    images = load(config, seed=0, largest=999)
    problem = make_problem(images, size=16, backbone="test_resnet", image_size=16)
    result = fit.fit_fold(problem, 0, 0, runtime=Runtime.choose("cpu", "fp32"))
    write_bundle(tmp_path, ModelCard("test_resnet", images.class_names, 16), result.weights)
    found = load_unlabelled("digits", size=16)
    everything, ids = found.pixels, found.ids
    pixels = everything[np.isin(ids, images.ids)][result.rows]
    found = Predictor(tmp_path, "cpu").predict(pixels)
    np.testing.assert_allclose(found, result.probabilities, atol=1e-5)


def test_levels_are_kept_and_bundles_before_them_load_as_before(tmp_path):
    model = build("test_resnet", classes=2, size=32, dropout=0.0, pretrained=None, seed=0)
    card = ModelCard("test_resnet", ("a", "b"), 32, levels=4095.0)
    write_bundle(tmp_path, card, model.state_dict())
    assert ModelCard.read(tmp_path / "model.json") == card
    with_temperature(tmp_path, tmp_path / "warm", 2.0)
    ensemble([tmp_path, tmp_path], tmp_path / "two", 2.0)
    for place in ("warm", "two"):
        assert ModelCard.read(tmp_path / place / "model.json").levels == 4095
    grey = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32, 1) * 4
    asked = [{"image": png16(grey)}]
    wanted = np.repeat(np.rint(grey * (255 / 4095)).astype(np.uint8), 3, axis=2)[None]
    predictor = Predictor(tmp_path, "cpu")
    assert (predictor.predict(asked) == predictor.predict(wanted)).all()
    content = json.loads((tmp_path / "model.json").read_text())
    del content["levels"]
    (tmp_path / "model.json").write_text(json.dumps(content))
    assert ModelCard.read(tmp_path / "model.json").levels is None
    assert Predictor(tmp_path, "cpu").predict(asked).shape == (1, 2)
