"""Alone, synchronised batch norm is plain batch norm; `test_teams` has two workers."""

import copy

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from folds.model.backbone import build
from folds.runtime.sync_batch_norm import synchronise
from folds.runtime.workers import Workers

NORMS = {
    "2d": lambda: nn.BatchNorm2d(5),
    "with activation": lambda: BatchNormAct2d(5),
    "cumulative": lambda: nn.BatchNorm2d(5, momentum=None),
    "without weights": lambda: nn.BatchNorm2d(5, affine=False),
    "without memory": lambda: nn.BatchNorm2d(5, track_running_stats=False),
}


def steps(norm, images):
    """Outputs and gradients of a few batches."""
    found = []
    for image in images:
        image = image.clone().requires_grad_(True)
        output = norm(image)
        (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
        found += [output.detach(), image.grad, *(p.grad.clone() for p in norm.parameters())]
    return found + list(norm.state_dict().values())


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("training", [True, False])
def test_is_batch_norm(kind, training):
    images = torch.randn(3, 4, 5, 6, 7, generator=torch.Generator().manual_seed(0)) * 3 + 2
    plain = NORMS[kind]().train(training)
    other = copy.deepcopy(plain)
    synchronise(other, Workers())
    found, expected = steps(other, images), steps(plain, images)
    assert len(found) > 6 or not list(plain.parameters())
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)


def test_is_batch_norm_of_features():
    plain, other = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    synchronise(other, Workers())
    features = torch.rand(6, 3)
    torch.testing.assert_close(other(features), plain(features))
    torch.testing.assert_close(other.running_var, plain.running_var)


def test_keeps_the_precision_of_autocast():
    norm = nn.BatchNorm2d(5)
    synchronise(norm, Workers())
    with torch.autocast("cpu", torch.bfloat16):
        assert norm(torch.rand(2, 5, 3, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert norm.running_mean.dtype == torch.float32


def test_reaches_every_norm_and_leaves_names_as_they_are():
    model = build("test_resnet", classes=3, size=32, dropout=0, pretrained=None, seed=0)
    names = list(model.state_dict())
    synchronise(model, Workers())
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert all("forward" in vars(norm) for norm in norms)
    assert list(model.state_dict()) == names
