"""What is like nothing that was trained on is told, and no more of the rest than promised."""

import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from folds.model.backbone import build
from folds.model.bundle import ModelCard, ensemble, with_temperature, write_bundle
from folds.model.export import _NEEDED, export
from folds.model.mixture import MixturePredictor, knows_typicality, write_mixture
from folds.model.predictor import Predictor
from folds.model.typicality import FEWEST, Typicality

SIZE = 32


def drawn(count, seed, *, classes=3, width=40):
    """Features of classes that lie apart, along few directions."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    centres = np.random.default_rng(99).normal(size=(classes, width)) * 3
    mixing = np.random.default_rng(98).normal(size=(5, width))
    noise = rng.normal(size=(count, 5)) @ mixing + 0.3 * rng.normal(size=(count, width))
    return (centres[labels] + noise).astype(np.float32), labels


def test_no_more_of_what_is_alike_is_rejected_than_promised():
    shares = []
    for seed in range(30):
        typicality = Typicality.fit(*drawn(300, seed))
        values = typicality(torch.from_numpy(drawn(400, 1000 + seed)[0]))
        shares.append([float((values <= level).float().mean()) for level in (0.01, 0.05, 0.2)])
    assert np.mean(shares, axis=0) == pytest.approx([0.01, 0.05, 0.2], rel=0.4)


def test_what_lies_elsewhere_is_rejected():
    typicality = Typicality.fit(*drawn(400, 0))
    rng = np.random.default_rng(5)
    elsewhere = rng.normal(size=(200, 40)).astype(np.float32) * 5
    assert (typicality(torch.from_numpy(elsewhere)) < 0.01).float().mean() > 0.95


@given(scale=st.floats(0.01, 100), seed=st.integers(0, 50))
def test_the_length_of_features_says_nothing(scale, seed):
    typicality = Typicality.fit(*drawn(FEWEST, 0))
    features = torch.from_numpy(drawn(20, seed)[0])
    found, longer = typicality(features), typicality(features * scale)
    assert ((found - longer).abs() <= 2 / FEWEST).all()
    assert ((found > 0) & (found <= 1)).all()


def test_the_distance_is_that_of_mahalanobis_where_all_directions_are_kept():
    features, labels = drawn(500, 3)
    typicality = Typicality.fit(features, labels)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    means = np.stack([unit[labels == c].mean(axis=0) for c in range(3)])
    centred = unit - means[labels]
    covariance = centred.T @ centred / (len(unit) - 3)
    mean = np.trace(covariance) / 40
    inverse = np.linalg.inv(0.5 * covariance + 0.5 * mean * np.eye(40))
    others = unit[:50, None] - means
    wanted = np.einsum("ncf,fg,ncg->nc", others, inverse, others).min(axis=1)
    found = typicality._distance(torch.from_numpy(features[:50]))
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-3)


def elsewhere(count, seed):
    """Features as another laboratory's images have them: all moved, and further apart."""
    features = drawn(count, seed)[0]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    noise = np.random.default_rng(seed).normal(size=unit.shape) * 0.05
    moved = unit + 0.25 * np.random.default_rng(7).normal(size=unit.shape[1]) + noise
    return torch.from_numpy(moved.astype(np.float32))


def test_another_laboratorys_images_are_typical_once_it_is_adapted_to_and_junk_is_not():
    typicality = Typicality.fit(*drawn(400, 0))
    cells = elsewhere(300, 1)
    junk = torch.from_numpy(np.random.default_rng(5).normal(size=(15, 40)).astype(np.float32))
    table = torch.cat([cells, junk])
    assert (typicality(cells) < 0.01).float().mean() > 0.9
    found = typicality.adapted(table)(table)
    assert (found[: len(cells)] < 0.01).float().mean() < 0.15
    assert (found[len(cells) :] < 0.01).float().mean() > 0.9


def test_a_table_like_trainings_changes_little():
    typicality = Typicality.fit(*drawn(400, 0))
    table = torch.from_numpy(drawn(300, 1)[0])
    assert (typicality.adapted(table)(table) - typicality(table)).abs().mean() < 0.05
    one_to_one = typicality.adapted(torch.from_numpy(drawn(400, 0)[0]))
    assert (one_to_one.precisions <= typicality.precisions).all()  # never stricter


def test_few_images_or_features_that_do_not_vary_give_none():
    features, labels = drawn(FEWEST, 0)
    assert Typicality.fit(features[1:], labels[1:]) is None
    assert Typicality.fit(np.ones((FEWEST, 4), np.float32), labels) is None


def test_damage_is_named(tmp_path):
    file = tmp_path / "typicality.safetensors"
    whole = Typicality.fit(*drawn(FEWEST, 0))
    file.write_bytes(whole.saved())
    assert torch.equal(Typicality.read(file).distances, whole.distances)
    for content in (b"", whole.saved()[:500], b"junk" * 100):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"typicality\.safetensors: is damaged"):
            Typicality.read(file)


@pytest.fixture(scope="module")
def cells():
    """Images of three kinds, their labels, and some that are of none."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    images = rng.integers(0, 60, (300, SIZE, SIZE, 3), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[8:24, 8:24, label] += 150
    return images, labels, rng.integers(0, 256, (50, SIZE, SIZE, 3), dtype=np.uint8)


def member(folder, seed, cells, *, knows=True, **card):
    """A bundle that knows the features of these images."""
    model = build("test_resnet", classes=3, size=SIZE, dropout=0.0, pretrained=None, seed=seed)
    pixels = torch.from_numpy(cells[0]).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        _, features = model.eval().halfway(pixels)
    typicality = Typicality.fit(features.numpy(), cells[1]) if knows else None
    card = ModelCard("test_resnet", ("a", "b", "c"), SIZE, **card)
    write_bundle(folder, card, model.state_dict(), typicality=typicality)
    return folder


class TestInABundle:
    def test_it_goes_where_the_weights_go(self, tmp_path, cells):
        folders = [member(tmp_path / str(n), n, cells, tta="flips") for n in range(2)]
        images = np.concatenate([cells[0][:60], cells[2]])
        each = [Predictor(folder, "cpu").answer(images).typicality for folder in folders]
        ensemble(folders, tmp_path / "both", 2.0)
        found = Predictor(tmp_path / "both", "cpu").answer(images).typicality
        np.testing.assert_allclose(found, np.sqrt(each[0] * each[1]), rtol=0.05)
        assert (found[60:] < 0.02).mean() > 0.9
        assert (found[:60] < 0.02).mean() < 0.1
        with_temperature(tmp_path / "both", tmp_path / "cooler", 3.0)
        cooler = Predictor(tmp_path / "cooler", "cpu").answer(images)
        np.testing.assert_array_equal(cooler.typicality, found)

    def test_one_member_without_is_enough_for_none(self, tmp_path, cells):
        folders = [member(tmp_path / str(n), n, cells, knows=not n) for n in range(2)]
        ensemble(folders, tmp_path / "both", 1.0)
        predictor = Predictor(tmp_path / "both", "cpu")
        assert predictor.answer(cells[2]).typicality is None
        assert not predictor.knows_typicality
        write_mixture(folders, [1, 1], tmp_path / "mix")
        mixed = MixturePredictor(tmp_path / "mix", "cpu")
        assert mixed.answer(cells[2]).typicality is None
        assert not mixed.knows_typicality
        assert not knows_typicality(tmp_path / "mix")

    def test_parts_of_a_mixture_count_as_their_weights_say(self, tmp_path, cells):
        folders = [member(tmp_path / str(n), n, cells) for n in range(2)]
        write_mixture(folders, [3, 1], tmp_path / "mix")
        a, b = (Predictor(folder, "cpu").answer(cells[2]).typicality for folder in folders)
        found = MixturePredictor(tmp_path / "mix", "cpu").answer(cells[2]).typicality
        np.testing.assert_allclose(found, a**0.75 * b**0.25, rtol=0.05)
        assert knows_typicality(tmp_path / "mix")

    def test_of_another_network_it_is_refused(self, tmp_path, cells):
        folder = member(tmp_path / "m", 0, cells)
        other = Typicality.fit(*drawn(FEWEST, 0))
        (folder / "typicality.safetensors").write_bytes(other.saved())
        with pytest.raises(ValueError, match=r"typicality\.safetensors: is of another network"):
            Predictor(folder, "cpu")

    def test_no_image_has_none(self, tmp_path, cells):
        predictor = Predictor(member(tmp_path / "m", 0, cells), "cpu")
        assert predictor.answer(cells[0][:0]).typicality.shape == (0,)

    @pytest.mark.parametrize("target", ["onnx", "pt2"])
    def test_the_exported_file_has_it(self, tmp_path, cells, target):
        if target == "onnx" and not all(map(importlib.util.find_spec, _NEEDED)):
            pytest.skip("crossfold[export] is not there")
        folders = [member(tmp_path / str(n), n, cells) for n in range(2)]
        write_mixture(folders, [2, 1], tmp_path / "mix")
        assert export(tmp_path / "mix", target, tmp_path / "file") < 1e-4
        images = np.concatenate([cells[0][:20], cells[2][:5]])
        if target == "onnx":
            import onnxruntime

            session = onnxruntime.InferenceSession((tmp_path / "file").read_bytes())
            found = session.run(["typicality"], {"images": images})[0]
        else:
            module = torch.export.load(tmp_path / "file").module()
            found = module(torch.from_numpy(images))[1].numpy(force=True)
        wanted = MixturePredictor(tmp_path / "mix", "cpu").answer(images).typicality
        np.testing.assert_allclose(found, wanted, atol=0.02)
