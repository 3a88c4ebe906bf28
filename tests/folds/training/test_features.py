import numpy as np
import pytest
import torch

from folds.augment import to_input
from folds.model.backbone import build
from folds.runtime.device import Runtime
from folds.training.features import pooled_features

CPU = Runtime.choose("cpu", "fp32")


def make(name="test_resnet", size=32):
    return build(name, classes=2, size=size, dropout=0.0, pretrained=None, seed=1)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_features_are_what_the_head_is_given(make_images, name):
    images = make_images((5, 6))
    found, cost = pooled_features(images, make(name), CPU, batch=4)
    model = make(name).eval()
    with torch.inference_mode():
        _, expected = model(to_input(torch.from_numpy(images.pixels), 32), with_features=True)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert found.dtype == np.float32
    assert found.shape == (11, model.head.features)
    assert cost.seconds > 0
    assert cost.parameters == sum(p.numel() for p in model.backbone.parameters())


def test_memory_is_the_networks_and_the_largest_layers(make_images):
    images = make_images((5, 6))
    small, large = (pooled_features(images, make(size=size), CPU)[1].memory for size in (32, 64))
    model = make()
    own = sum(t.nbytes for t in (*model.backbone.parameters(), *model.backbone.buffers()))
    assert 3.5 < (large - own) / (small - own) <= 4  # four times the places
    assert small > own + 3 * 32 * 32 * 4  # more than the image alone
    assert pooled_features(images, make(), CPU, batch=3)[1].memory == small
