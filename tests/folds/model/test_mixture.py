import json
import os

import numpy as np
import pytest
import torch

from folds.errors import UserError
from folds.model.bundle import ModelCard, ensemble
from folds.model.export import export
from folds.model.mixture import MixtureCard, MixturePredictor, open_bundle, write_mixture
from folds.model.predictor import Predictor
from tests.folds.model.test_ensemble import NAMES, write

CARDS = (
    ModelCard("test_resnet", NAMES, 32, tta="flips", temperature=0.5),
    ModelCard("test_vit", NAMES, 48, levels=4095.0, temperature=1.7),
    ModelCard("test_resnet", NAMES, 32),
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("parts")
    made = [write(root / str(n), seed=n, card=card) for n, card in enumerate(CARDS)]
    ensemble([made[2], made[2]], root / "all", 1.3)
    return [*made[:2], root / "all"]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 60, 52, 3), dtype=np.uint8)


def test_predicts_the_weighted_mean_of_unlike_models(folders, images, tmp_path):
    weights = [3, 1, 2]
    card = write_mixture(folders, weights, tmp_path / "mix")
    assert (card.members, card.size, card.backbone) == (4, 48, "test_resnet + test_vit")
    alone = [Predictor(folder, "cpu").predict(images) for folder in folders]
    found = MixturePredictor(tmp_path / "mix", "cpu").predict(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.average(alone, axis=0, weights=weights), atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert np.abs(alone[0] - alone[1]).max() > 0.01


def test_no_images_give_no_rows(folders, images, tmp_path):
    write_mixture(folders, [1, 1, 1], tmp_path / "mix")
    assert MixturePredictor(tmp_path / "mix", "cpu").predict(images[:0]).shape == (0, 3)


def test_what_is_written_is_json_and_safetensors_and_comes_back(folders, tmp_path):
    card = write_mixture(folders, [3, 1, 2], tmp_path / "mix")
    assert MixtureCard.read(tmp_path / "mix") == card
    names = {name for _, _, files in os.walk(tmp_path / "mix") for name in files}
    assert {name.rpartition(".")[2] for name in names} == {"json", "safetensors"}
    content = json.loads((tmp_path / "mix" / "model.json").read_text())
    assert content["class_names"] == list(NAMES)
    assert content["inputs"] == [[32, None], [48, 4095.0]]


def test_a_bundle_is_opened_by_its_format(folders, images, tmp_path):
    write_mixture(folders[:1], [2], tmp_path / "mix")
    plain, mixed = (open_bundle(one, "cpu") for one in (folders[0], tmp_path / "mix"))
    assert (type(plain), type(mixed)) == (Predictor, MixturePredictor)
    np.testing.assert_allclose(plain.predict(images), mixed.predict(images), atol=1e-7)


@pytest.mark.parametrize("weights", [[], [1, 2], [1, 0, 2], [1, -1, 2]])
def test_weights_that_do_not_fit_are_refused(folders, tmp_path, weights):
    with pytest.raises(ValueError, match="3 models with weights"):
        write_mixture(folders, weights, tmp_path / "mix")


def test_other_classes_are_refused(folders, tmp_path):
    other = write(tmp_path / "o", seed=9, card=ModelCard("test_resnet", ("a", "b", "c"), 32))
    with pytest.raises(ValueError, match="different classes"):
        write_mixture([folders[0], other], [1, 1], tmp_path / "mix")


def test_a_mixture_is_no_part_and_no_plain_bundle(folders, tmp_path):
    write_mixture(folders, [1, 1, 1], tmp_path / "mix")
    with pytest.raises(ValueError, match="not a crossfold-model/4 bundle"):
        write_mixture([tmp_path / "mix", folders[0]], [1, 1], tmp_path / "more")
    with pytest.raises(ValueError, match="not a crossfold-mixture/1 bundle"):
        MixtureCard.read(folders[0])


def test_of_one_size_it_is_exported(folders, images, tmp_path):
    write_mixture([folders[0], folders[2]], [3, 1], tmp_path / "mix")
    assert export(tmp_path / "mix", "pt2", tmp_path / "mix.pt2") < 1e-4
    small = images[:, :32, :32]
    found = torch.export.load(tmp_path / "mix.pt2").module()(torch.from_numpy(small))
    wanted = MixturePredictor(tmp_path / "mix", "cpu").predict(small)
    np.testing.assert_allclose(found.numpy(force=True), wanted, atol=1e-4)


def test_of_several_sizes_it_is_not_exported(folders, tmp_path):
    write_mixture(folders, [1, 1, 1], tmp_path / "mix")
    with pytest.raises(UserError, match="take images of 32 px and 48 px, one file takes one"):
        export(tmp_path / "mix", "pt2", tmp_path / "mix.pt2")
