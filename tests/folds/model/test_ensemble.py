import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from folds.model.backbone import build
from folds.model.bundle import ModelCard, ensemble, with_temperature, write_bundle
from folds.model.ensemble import tempered
from folds.model.predictor import Predictor

NAMES = ("ant", "bee", "cat")
CARD = ModelCard("test_resnet", NAMES, 32, tta="flips")


def write(folder, *, seed, card=CARD):
    model = build(card.backbone, classes=3, size=card.size, dropout=0, pretrained=None, seed=seed)
    with torch.no_grad():
        model.head.weight *= 100  # a fresh head hardly prefers a class
    write_bundle(folder, card, model.state_dict())
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("folds")
    return [write(root / str(seed), seed=seed) for seed in range(3)]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (9, 40, 36, 3), dtype=np.uint8)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_it_predicts_the_mean_of_its_members(folders, images, tmp_path, count, temperature):
    ensemble(folders[:count], tmp_path / "all", temperature)
    alone = []
    for number, folder in enumerate(folders[:count]):
        with_temperature(folder, tmp_path / str(number), temperature)
        alone.append(Predictor(tmp_path / str(number), "cpu").predict(images))
    found = Predictor(tmp_path / "all", "cpu").predict(images)
    np.testing.assert_allclose(found, np.mean(alone, axis=0), atol=1e-6)
    assert count == 1 or np.abs(found - alone[0]).max() > 0.01


def test_of_one_is_a_bundle_of_one(folders, tmp_path):
    ensemble(folders[:1], tmp_path, 1.0)
    for name in ("model.json", "model.safetensors"):
        assert (tmp_path / name).read_bytes() == (folders[0] / name).read_bytes()


def test_files_are_safetensors_and_json(folders, tmp_path):
    ensemble(folders, tmp_path, 1.5)
    weights = [f"model-{number}.safetensors" for number in range(3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*weights, "model.json"]
    content = json.loads((tmp_path / "model.json").read_text())
    assert (content["members"], content["temperature"]) == (3, 1.5)


def test_its_temperature_can_be_changed(folders, images, tmp_path):
    ensemble(folders, tmp_path / "mild", 3.0)
    with_temperature(tmp_path / "mild", tmp_path / "plain", 1.0)
    ensemble(folders, tmp_path / "same", 1.0)
    found, same = (Predictor(tmp_path / n, "cpu").predict(images) for n in ("plain", "same"))
    assert np.array_equal(found, same)


@pytest.mark.parametrize(
    "other",
    [
        ModelCard("test_resnet", ("ant", "cat", "bee"), 32, tta="flips"),
        ModelCard("test_resnet", NAMES, 48, tta="flips"),
        ModelCard("test_resnet", NAMES, 32),
    ],
)
def test_members_must_be_alike(folders, tmp_path, other):
    stranger = write(tmp_path / "stranger", seed=5, card=other)
    with pytest.raises(ValueError, match="these are 2 kinds"):
        ensemble([*folders, stranger], tmp_path / "all", 1.0)


def test_ensembles_are_no_members(folders, tmp_path):
    ensemble(folders, tmp_path / "all", 1.0)
    with pytest.raises(ValueError, match="one kind"):
        ensemble([tmp_path / "all", tmp_path / "all"], tmp_path / "more", 1.0)
    with pytest.raises(ValueError, match="0 kinds"):
        ensemble([], tmp_path / "none", 1.0)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_a_temperature_is_above_0(folders, tmp_path, temperature):
    with pytest.raises(ValueError, match="temperature"):
        with_temperature(folders[0], tmp_path, temperature)


chances = arrays(np.float32, (4, 5), elements=st.floats(0, 1, width=32)).map(
    lambda found: torch.from_numpy((found + 1e-6) / (found + 1e-6).sum(axis=1, keepdims=True))
)


class TestTempered:
    @given(chances, st.floats(0.2, 5))
    def test_gives_probabilities(self, probabilities, temperature):
        found = tempered(probabilities, temperature)
        assert (found >= 0).all()
        torch.testing.assert_close(found.sum(dim=1), torch.ones(4))

    @given(chances, st.floats(0.2, 5))
    def test_does_not_change_the_chosen_class(self, probabilities, temperature):
        chosen = tempered(probabilities, temperature).argmax(dim=1, keepdim=True)
        best = probabilities.amax(dim=1)
        torch.testing.assert_close(probabilities.gather(1, chosen)[:, 0], best)

    @given(chances, st.floats(1, 5))
    def test_above_1_is_less_sure(self, probabilities, temperature):
        best = tempered(probabilities, temperature).amax(dim=1)
        assert (best <= probabilities.amax(dim=1) + 1e-6).all()

    def test_a_class_that_is_ruled_out_stays_so(self):
        found = tempered(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), 2.0)
        torch.testing.assert_close(found, torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
