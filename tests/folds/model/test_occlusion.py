"""A heat map lies on what decides, in networks of all kinds."""

import numpy as np
import pytest
import torch

from folds.model.backbone import build
from folds.model.occlusion import SIDE, heat_maps

SIZE = 64


def network(name, size=SIZE):
    return build(name, classes=3, size=size, dropout=0.0, pretrained=None, seed=0)


def marked(count, seed):
    """Grey noise with a square in a quarter of each image, whose colour is the class."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0.5, 0.02, (count, 3, SIZE, SIZE)).astype(np.float32)
    labels, quarters = rng.integers(0, 3, count), rng.integers(0, 4, count)
    half, edge = SIZE // 2, SIZE // 8
    for image, label, quarter in zip(images, labels, quarters, strict=True):
        top, left = half * (quarter // 2) + edge, half * (quarter % 2) + edge
        image[:, top : top + 2 * edge, left : left + 2 * edge] = np.eye(3)[label][:, None, None]
    return torch.from_numpy(images.clip(0, 1)), torch.from_numpy(labels), quarters


def trained(name, steps=60):
    model, (images, labels, _) = network(name), marked(128, 1)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for step in range(steps):
        batch = torch.arange(16 * step, 16 * step + 16) % 128
        loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_vit2"])
def test_it_lies_where_the_class_is_decided(name):
    model, (images, labels, quarters) = trained(name), marked(12, 2)
    maps = np.maximum(heat_maps(model, images, labels.tolist()), 0)
    assert (model(images).argmax(1) == labels).all()
    shares = maps.reshape(12, 2, SIDE // 2, 2, SIDE // 2).sum((2, 4)).reshape(12, 4)
    assert (shares.argmax(1) == quarters).mean() > 0.9  # a quarter at random
    assert np.mean(shares[range(12), quarters] / shares.sum(1)) > 0.6


@pytest.mark.parametrize(("name", "size"), [("test_efficientnet", 28), ("test_mambaout", 30)])
def test_a_map_is_of_its_image_and_class_alone(name, size):
    model, images = network(name, size), torch.rand(3, 3, size, size)
    torch.nn.init.normal_(model.head.weight)
    maps = heat_maps(model, images, [0, 1, 2])
    assert (maps.shape, maps.dtype) == ((3, SIDE, SIDE), np.float32)
    np.testing.assert_array_equal(heat_maps(model, images[1:2], [1])[0], maps[1])
    assert not np.allclose(heat_maps(model, images[1:2], [0])[0], maps[1])


def test_what_cannot_matter_has_none():
    model, image = network("test_resnet"), torch.full((1, 3, SIZE, SIZE), 0.25)
    np.testing.assert_allclose(heat_maps(model, image, [1]), 0, atol=1e-6)
