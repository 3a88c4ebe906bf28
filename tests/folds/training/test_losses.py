import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.config import Config
from folds.runtime.workers import Workers
from folds.training.losses import fresh_factor, image_losses, triplet_loss

LAW = settings(max_examples=40)


def config(**changes):
    return Config.from_flat({"label_smoothing": 0.0, **changes})


def draw(seed, images=9, classes=4, features=3):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, classes, generator=generator) * 3
    labels = torch.randint(0, classes, (images,), generator=generator)
    return logits, labels, torch.randn(images, features, generator=generator)


class TestImageLosses:
    @LAW
    @given(st.integers(0, 999), st.floats(0, 0.9))
    def test_cross_entropy_is_torchs(self, seed, smoothing):
        logits, labels, _ = draw(seed)
        found = image_losses(config(label_smoothing=smoothing), logits, labels)
        mean = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        assert found.shape == (9,)
        torch.testing.assert_close(found.mean(), mean)

    @LAW
    @given(st.integers(0, 999), st.floats(0, 5))
    def test_focal_is_its_formula(self, seed, gamma):
        logits, labels, _ = draw(seed)
        found = image_losses(config(loss="focal", focal_gamma=gamma), logits, labels)
        p = logits.double().softmax(1).numpy()[np.arange(9), labels]
        np.testing.assert_allclose(found, -((1 - p) ** gamma) * np.log(p), rtol=1e-3, atol=1e-7)

    def test_focal_with_exponent_0_is_cross_entropy(self):
        logits, labels, _ = draw(0)
        settings = {"label_smoothing": 0.2}
        plain = image_losses(config(**settings), logits, labels)
        focal = image_losses(config(loss="focal", focal_gamma=0, **settings), logits, labels)
        assert torch.equal(plain, focal)

    @pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_focal_of_a_sure_answer_has_a_finite_gradient(self, gamma, smoothing):
        logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
        settings = config(loss="focal", focal_gamma=gamma, label_smoothing=smoothing)
        losses = image_losses(settings, logits, torch.tensor([0, 0]))
        losses.sum().backward()
        assert torch.isfinite(losses).all()
        assert torch.isfinite(logits.grad).all()

    @pytest.mark.parametrize("classes", [2, 8])
    @pytest.mark.parametrize("loss", ["ce", "focal"])
    def test_fresh_factor_is_that_of_equal_logits(self, classes, loss):
        settings = config(loss=loss, label_smoothing=0.1)
        found = image_losses(settings, torch.zeros(1, classes), torch.tensor([1]))
        expected = fresh_factor(settings, classes) * math.log(classes)
        assert found.item() == pytest.approx(expected, rel=1e-5)


def by_hand(features, labels):
    """Loop over anchors, as the paper has it."""
    far = np.linalg.norm(features[:, None] - features, axis=-1)
    terms = []
    for anchor, label in enumerate(labels):
        others = np.arange(len(labels)) != anchor
        like, unlike = others & (labels == label), labels != label
        if like.any() and unlike.any():
            terms.append(np.log1p(np.exp(far[anchor][like].max() - far[anchor][unlike].min())))
    return np.mean(terms) if terms else 0.0


class TestTriplets:
    @LAW
    @given(st.integers(0, 999), st.integers(2, 12), st.integers(1, 4))
    def test_are_the_hardest_of_the_batch(self, seed, images, classes):
        _, labels, features = draw(seed, images, classes)
        found = triplet_loss(features, labels, Workers(), labels)
        expected = by_hand(features.double().numpy(), labels.numpy())
        assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)

    @pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [0, 0, 1]])
    def test_equal_features_have_a_finite_gradient(self, labels):
        features = torch.ones(3, 4, requires_grad=True)
        labels = torch.tensor(labels)
        triplet_loss(features, labels, Workers(), labels).backward()
        assert torch.isfinite(features.grad).all()

    def test_pull_together_and_push_apart(self):
        _, labels, features = draw(1, 30)
        features.requires_grad_(True)
        before = triplet_loss(features, labels, Workers(), labels)
        before.backward()
        moved = features.detach() - features.grad
        assert triplet_loss(moved, labels, Workers(), labels) < before

    def test_are_float32_under_autocast(self):
        _, labels, features = draw(2)
        with torch.autocast("cpu", torch.bfloat16):
            found = triplet_loss(features.bfloat16(), labels, Workers(), labels)
        assert found.dtype == torch.float32
